"""Train a mini base on, by its own correct responses."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.organism.polish:polish_base")
