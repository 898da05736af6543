"""Draw one figure of the paper from the study's numbers, as PNG and SVG, with its caption."""

from pathlib import Path

from selfdistill.jobs.run_job import run_job


def main(snakemake, job):
    with job.importing("matplotlib.backends.backend_agg", "seaborn"):
        from selfdistill.records.files import write_text
        from selfdistill.report.figures import CAPTIONS, FIGURES, save_figure
        from selfdistill.report.loading import load_data

    data = load_data(dict(snakemake.input.items()), snakemake.params.display)
    name, output = snakemake.params.name, snakemake.output
    save_figure(FIGURES[name](data), Path(output.png), Path(output.svg))
    write_text(output.caption, CAPTIONS[name](data) + "\n")


run_job(snakemake, main, warm="drawing")
