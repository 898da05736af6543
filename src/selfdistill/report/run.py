"""Jobs that read samples and write numbers, the claims ledger, figures, tables and the report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from selfdistill.claims.judge import as_record, judge_claims, judge_part
from selfdistill.claims.ledger import load_ledger
from selfdistill.claims.page import counts_of, summary_sentences, to_html, to_markdown
from selfdistill.claims.plan import from_params
from selfdistill.problems.problem import read_problems
from selfdistill.records.files import read_table, write_frame, write_text
from selfdistill.records.schemas import samples_schema
from selfdistill.records.task import Facts, Task, job
from selfdistill.report import loading


def drawing_modules(params: Mapping[str, Any]) -> Sequence[str]:
    """Return what a figure imports late."""
    return ("matplotlib.backends.backend_agg", "seaborn", "selfdistill.report.figures")


@job()
def estimate(task: Task) -> Facts:
    """Write all estimates, differences to base and word shifts, from every sample of the study."""
    from selfdistill.report.figures.estimates import study_differences, study_estimates
    from selfdistill.report.figures.words import frequency_shifts

    params, schema = task.params["job"], samples_schema()
    samples = pd.concat([read_table(path, schema) for path in task.input.samples], ignore_index=True)
    parts = [read_table(path, schema) for path in task.input.section_3]
    section_3 = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    write_frame(task.output.estimates, study_estimates(samples, section_3, params["ood"]))
    write_frame(task.output.differences, study_differences(samples, params["ood"]))
    write_frame(task.output.shift, frequency_shifts(samples, params["shift_benchmark"]))
    return {"samples": len(samples)}


@job()
def judge(task: Task) -> Facts:
    """Write the claims ledger (effects, intervals, verdicts) as JSON, Markdown and HTML."""
    params = task.params["job"]
    ledger, parts = load_ledger(task.input.ledger), from_params(params["parts"])
    frames = loading.claim_frames(task.input, parts)
    results = [judge_part(part, frames, ledger.alpha) for part in parts]
    record = as_record(ledger, params["study"], judge_claims(ledger, results))
    write_text(task.output.json, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    write_text(task.output.md, to_markdown(record))
    write_text(task.output.html, to_html(record))
    return counts_of(record)


@job(late=drawing_modules)
def plot_figure(task: Task) -> Facts:
    """Draw a figure as PNG and SVG, with its caption."""
    from selfdistill.report.figures import CAPTIONS, FIGURES, save_figure

    params, output = task.params["job"], task.output
    data = loading.load_data(vars_of(task.input), params["display"])
    save_figure(FIGURES[params["name"]](data), Path(output.png), Path(output.svg))
    write_text(output.caption, CAPTIONS[params["name"]](data) + "\n")
    return None


@job()
def write_table(task: Task) -> Facts:
    """Write a table beside the paper's own numbers: CSV, Markdown and HTML."""
    from selfdistill.report.tables import TABLES

    params, output = task.params["job"], task.output
    data = loading.load_data(vars_of(task.input), params["display"])
    TABLES[params["name"]](data).write(Path(output.csv), Path(output.md), Path(output.html))
    return None


@job(late=drawing_modules)
def make_report(task: Task) -> Facts:
    """Write the study on one self-contained page."""
    from selfdistill.report.figures import FIGURES, TITLES
    from selfdistill.report.page import Report, build_report, main_arms, pick_examples

    source, params = task.input, task.params["job"]
    data = loading.load_data(vars_of(source), params["display"])
    captions, manifests = loading.named_texts(source.captions), loading.read_manifests(source.manifests)
    samples = loading.read_samples(source.samples)
    questions = {problem.problem_id: problem.question for problem in read_problems(source.questions)}
    arms, benchmark = main_arms(data, samples["model"].iloc[0]), params["benchmark"]
    ledger = json.loads(Path(source.ledger).read_text(encoding="utf-8"))
    report = Report(
        study=params["study"],
        data=data,
        figures={
            Path(png).stem: (TITLES[Path(png).stem], Path(png), captions[Path(png).stem])
            for png in source.figures
        },
        tables=loading.named_texts(source.tables),
        missing={
            name: f"not declared by the study {params['study']}" for name in FIGURES if name not in captions
        },
        costs=loading.job_costs(manifests),
        training_costs=loading.training_costs(manifests),
        provenance=loading.provenance(manifests, f"snakemake --config study={params['study']}"),
        deviations=loading.read_deviations(source.deviations),
        examples=pick_examples(samples, questions, arms, benchmark),
        claims=Path(source.claims).read_text(encoding="utf-8"),
        findings=summary_sentences(ledger),
        verdicts=counts_of(ledger),
    )
    write_text(task.output.report, build_report(report))
    return None


def vars_of(files: Any) -> dict[str, Any]:
    """Return named input files as a mapping."""
    return dict(files.items()) if hasattr(files, "items") else dict(vars(files))
