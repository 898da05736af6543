"""Sections 5 and 6: one SDPO run (on-policy self-distillation)."""

from selfdistill.job import run_job, train_run


def main(snakemake, job):
    with job.importing():
        from selfdistill.training.sdpo import train_sdpo

    return train_run(snakemake, job, train_sdpo)


run_job(snakemake, main)
