"""The study on one self-contained page."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.report.run:make_report")
