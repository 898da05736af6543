"""Samples of a model before training on every benchmark."""

from pathlib import Path

from selfdistill.jobs.run_job import evaluate_checkpoints, run_job


def main(snakemake, job):
    return evaluate_checkpoints(snakemake, job, {0: Path(snakemake.input.base)})


run_job(snakemake, main, warm="generation")
