"""The study on one self-contained page: figures, tables, the paper's values, examples, costs, provenance."""

from pathlib import Path

from selfdistill.jobs.run_job import run_job


def main(snakemake, job):
    with job.importing():
        import json

        from selfdistill.claims.page import counts_of, summary_sentences
        from selfdistill.problems.problem import read_problems
        from selfdistill.records.files import write_text
        from selfdistill.report import loading
        from selfdistill.report.figures import FIGURES, TITLES
        from selfdistill.report.page import Report, build_report, main_arms, pick_examples

    source, study = snakemake.input, snakemake.params.study
    data = loading.load_data(dict(source.items()), snakemake.params.display)
    captions, manifests = loading.named_texts(source.captions), loading.read_manifests(source.manifests)
    samples = loading.read_samples(source.samples)
    questions = {problem.problem_id: problem.question for problem in read_problems(source.questions)}
    arms, benchmark = main_arms(data, samples["model"].iloc[0]), Path(source.questions).stem
    ledger = json.loads(Path(source.ledger).read_text(encoding="utf-8"))
    report = Report(
        study=study,
        data=data,
        figures={
            Path(png).stem: (TITLES[Path(png).stem], Path(png), captions[Path(png).stem])
            for png in source.figures
        },
        tables=loading.named_texts(source.tables),
        missing={name: f"not declared by the study {study}" for name in FIGURES if name not in captions},
        costs=loading.job_costs(manifests),
        training_costs=loading.training_costs(manifests),
        provenance=loading.provenance(manifests, f"snakemake --config study={study}"),
        deviations=loading.read_deviations(source.deviations),
        examples=pick_examples(samples, questions, arms, benchmark),
        timeline=(Path(source.timeline), Path(source.timeline_caption).read_text(encoding="utf-8").strip()),
        claims=Path(source.claims).read_text(encoding="utf-8"),
        findings=summary_sentences(ledger),
        verdicts=counts_of(ledger),
    )
    write_text(snakemake.output.report, build_report(report))


run_job(snakemake, main)
