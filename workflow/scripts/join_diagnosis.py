"""Finished runs of self-distillation: the features of their plans, and what the runs did to the OOD accuracy."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.report.diagnosis:join_diagnosis")
