"""The features of a planned run of self-distillation, measured on its base before any training."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.training.diagnosis:measure_diagnosis")
