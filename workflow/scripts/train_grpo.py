"""Sections 5 and 6: one GRPO run."""

from selfdistill.job import run_job, train_run


def main(snakemake, job):
    with job.importing():
        from selfdistill.training.grpo import train_grpo

    return train_run(snakemake, job, train_grpo)


run_job(snakemake, main)
