"""Section 4: the data sets cut to as many tokens."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.sampling.matching:match_off_policy_data")
