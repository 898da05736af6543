"""Make a base model with random weights."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.organism.random_weights:make_random_base")
