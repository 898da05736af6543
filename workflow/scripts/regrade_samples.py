"""All samples of a study graded again by another grader: every number and verdict that changes."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.report.regraded:regrade_samples")
