"""Sections 5 and 6: one SDPO run (on-policy self-distillation)."""

from selfdistill.jobs.run_job import run_job, train_run

run_job(snakemake, train_run, warm="sdpo")
