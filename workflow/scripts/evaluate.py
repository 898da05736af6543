"""Samples of every checkpoint of a run, or of a base, on every benchmark."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.sampling.run:evaluate")
