"""Make or fetch a whole training problem set, or a benchmark."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.problems.build:build_problems")
