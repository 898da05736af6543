"""Write one table of the paper from the study's numbers, beside the paper's own: CSV, Markdown and HTML."""

from pathlib import Path

from selfdistill.jobs.run_job import run_job


def main(snakemake, job):
    with job.importing():
        from selfdistill.report.loading import load_data
        from selfdistill.report.tables import TABLES

    data = load_data(dict(snakemake.input.items()), snakemake.params.display)
    output = snakemake.output
    TABLES[snakemake.params.name](data).write(Path(output.csv), Path(output.md), Path(output.html))


run_job(snakemake, main)
