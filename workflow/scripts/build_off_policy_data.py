"""Section 4: data sets of the model's own correct responses."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.sampling.run:build_off_policy_data")
