"""Estimates with intervals, from all samples."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.report.numbers:estimate")
