"""Draw where the time of the study's jobs went, from their manifests, as PNG and SVG, with its caption."""

from pathlib import Path

from selfdistill.jobs.run_job import run_job


def main(snakemake, job):
    with job.importing("matplotlib.backends.backend_agg", "seaborn"):
        from selfdistill.records.files import write_text
        from selfdistill.report.figures.timeline import timeline
        from selfdistill.report.loading import read_manifests
        from selfdistill.report.style import save_figure
        from selfdistill.report.timeline import describe, spans_of

    manifests, output = read_manifests(snakemake.input.manifests), snakemake.output
    spans = spans_of(manifests)
    save_figure(timeline(spans), Path(output.png), Path(output.svg))
    write_text(output.caption, describe(spans, len(manifests)) + "\n")
    return {"jobs_with_times": len(spans)}


run_job(snakemake, main, warm="drawing")
