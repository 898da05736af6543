"""Train a mini base model from scratch."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.organism.run:train_mini_base")
