"""Take a coverage subset of a training set; the subsets of a set are nested (section 6.2)."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.problems.build:build_coverage_subset")
