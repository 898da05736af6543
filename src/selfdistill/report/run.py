"""The job that writes the report."""

from dataclasses import replace
from pathlib import Path

from selfdistill.problems.problem import read_problems
from selfdistill.records.files import read_json, write_text
from selfdistill.records.task import Facts, Task, job
from selfdistill.report import loading
from selfdistill.report.claims_summary import counts_of, summary_sentences
from selfdistill.report.page import Overview, Report, build_report, pick_examples
from selfdistill.report.samples import responses_of
from selfdistill.study.shown import ReportJob


@job()
def make_report(task: Task) -> Facts:
    """Write the study on one self-contained page."""
    source, asked = task.input, ReportJob.model_validate(task.params["job"])
    data = loading.load_data(loading.named_files(source), {"title": asked.title, **asked.names})
    captions, manifests = loading.named_texts(source.captions), loading.read_manifests(source.manifests)
    questions = {problem.problem_id: problem.question for problem in read_problems(source.questions)}
    samples = responses_of(source.samples, asked.benchmark, samples=1)
    ledger = read_json(source.ledger)
    report = Report(
        study=asked.study,
        data=replace(data, runs=data.in_order(asked.runs)),
        figures={
            name: (asked.titles[name], Path(png), captions[name])
            for png in source.figures
            if (name := Path(png).stem)
        },
        tables=loading.named_texts(source.tables),
        missing={
            name: f"not declared by the study {asked.study}" for name in asked.titles if name not in captions
        },
        costs=loading.job_costs(manifests),
        training_costs=loading.training_costs(manifests),
        provenance=loading.provenance(manifests, asked.command),
        deviations=loading.read_deviations(source.deviations),
        examples=pick_examples(samples, questions, asked.examples, asked.benchmark),
        overview=Overview(
            *map(Path, source.overview[:2]), Path(source.overview[2]).read_text(encoding="utf-8").strip()
        ),
        claims=Path(source.claims).read_text(encoding="utf-8"),
        findings=summary_sentences(ledger),
        verdicts=counts_of(ledger),
    )
    write_text(task.output.report, build_report(report))
    return None
