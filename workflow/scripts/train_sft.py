"""Section 4: SFT of one model on its own correct responses."""

from selfdistill.job import run_job, train_run


def main(snakemake, job):
    with job.importing():
        from selfdistill.training.sft import train_sft

    return train_run(snakemake, job, train_sft)


run_job(snakemake, main)
