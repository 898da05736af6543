"""The study on one self-contained page: figures, tables, the paper's values."""

from pathlib import Path

from selfdistill.job import run_job


def main(snakemake, job):
    from selfdistill.loading import load_data
    from selfdistill.report import build_report

    data = load_data(dict(snakemake.input.items()), snakemake.params.display)
    build_report(data, Path(snakemake.output.report))


run_job(snakemake, main)
