"""Sections 5 and 6: train one run on its own rollouts (GRPO, SDPO)."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.training.run:train_run")
