"""Train a mini base model from scratch; a base that misses its acceptance fails here, with the figures."""

from pathlib import Path

from selfdistill.jobs.run_job import LATE, run_job


def main(snakemake, job):
    with job.importing(*LATE["transformers"]):
        from selfdistill.organism.pretraining import train_base
        from selfdistill.study.models import OrganismBase

    spec = OrganismBase.model_validate(snakemake.params.spec)
    return train_base(spec, spec.seed, Path(snakemake.output.model), job.resume)


run_job(snakemake, main, warm="base")
