"""Samples of a checkpoint of a run, or of a base, on its benchmarks."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.sampling.run:evaluate")
