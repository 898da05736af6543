"""Richness, measured: how much each context of section 3 tells about a model's own correct responses."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.sampling.richness:measure_richness")
