"""Samples of every checkpoint of a run on every benchmark."""

from pathlib import Path

from selfdistill.jobs.run_job import evaluate_checkpoints, run_job


def main(snakemake, job):
    folders = Path(snakemake.input.checkpoints).glob("step-*")
    return evaluate_checkpoints(
        snakemake, job, {int(path.name.removeprefix("step-")): path for path in folders}
    )


run_job(snakemake, main, warm="generation")
