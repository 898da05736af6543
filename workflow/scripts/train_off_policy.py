"""Section 4: train one run on a data set of responses (SFT)."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.training.run:train_run")
