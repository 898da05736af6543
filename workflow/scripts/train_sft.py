"""Section 4: SFT of one model on its own correct responses."""

from selfdistill.jobs.run_job import run_job, train_run

run_job(snakemake, train_run, warm="sft")
