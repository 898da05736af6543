"""Samples of a run after training, or of a base, under an intervention on the epistemic words."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.sampling.run:evaluate_intervention")
