"""Sections 5 and 6: one GRPO run."""

from selfdistill.jobs.run_job import run_job, train_run

run_job(snakemake, train_run, warm="grpo")
