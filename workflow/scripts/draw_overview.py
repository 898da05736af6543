"""The picture of the claims ledger, the paper beside ours."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.report.overview:draw")
