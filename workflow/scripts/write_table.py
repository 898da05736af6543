"""Write one table of the paper from the study's numbers."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.report.drawing:write_table")
