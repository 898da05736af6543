"""The claims ledger of a study."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.report.claims_page:judge")
