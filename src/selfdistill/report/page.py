"""The report of a study: one self-contained HTML page, results/{study}/report.html.

`build_report` puts together what the rules have made: figures (PNG, inlined), tables (HTML), the paper's
numbers, a browser of all runs, example responses, costs, deviations, provenance. The summary is computed from the estimates; nobody
types it. The page needs no network (its content policy forbids it), sorts and filters its tables, and marks epistemic
words in responses. Figures and tables of runs that the study does not have are listed as `not run`, with the
reason.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import pandas as pd

from selfdistill.report.numbers import OOD_MEAN
from selfdistill.report.run_browser import costs_table, run_browser
from selfdistill.report.study_data import (
    ACCURACY,
    EPISTEMIC,
    LENGTH,
    Cell,
    StudyData,
    draws_text,
    final_cell,
    first_draw,
    rows_of_run,
)
from selfdistill.report.style import method_style
from selfdistill.report.tables.form import number, ours
from selfdistill.report.tables.reported import reported_elsewhere, reported_table
from selfdistill.statistics import last_step
from selfdistill.study.displays import heading
from selfdistill.vocabulary.marks import MARKS
from selfdistill.vocabulary.runs import RUN_KEY, base_key
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

_WORDS = re.compile("|".join(EPISTEMIC_WORDS), re.IGNORECASE)
LONGEST_RESPONSE = 4000
"""Characters of an example response that are shown; the samples hold the rest."""


@dataclass(frozen=True)
class Example:
    """One problem answered by several runs; `answers`: label, response, whether it is right, tokens."""

    problem_id: str
    question: str
    answers: Sequence[tuple[str, str, bool, int]]


@dataclass(frozen=True)
class Overview:
    """The picture of the ledger: its PNG, the one for small screens, the caption."""

    wide: Path
    narrow: Path
    caption: str


@dataclass(frozen=True)
class Report:
    """What a report shows.

    Attributes:
        data: the study's frames and names, for the summary and the paper's numbers. `data.runs`: the runs that the summary speaks of.
        figures: figure name -> (title, path of its PNG, caption).
        tables: table name -> its HTML (`Table.to_html`).
        missing: name of a figure that the study does not draw -> reason.
        costs: one row per job: rule, seconds (wall), max_rss_mb, tokens (`run_browser.costs_table`).
        training_costs: one row per training run: run fields, seconds, tokens (`run_browser.run_browser`).
        provenance: name -> value: command, commits, devices, versions, tokens (`loading.provenance`).
        deviations: one sentence each. examples: see `pick_examples`.
        overview: the picture of the claims ledger, if any. claims: its HTML, if any. verdicts: verdict -> number of claims with it.
        findings: sentences computed from the ledger; the summary begins with them.
    """

    study: str
    data: StudyData
    figures: Mapping[str, tuple[str, Path, str]]
    tables: Mapping[str, str]
    missing: Mapping[str, str] = field(default_factory=dict)
    costs: pd.DataFrame = field(default_factory=pd.DataFrame)
    training_costs: pd.DataFrame = field(default_factory=pd.DataFrame)
    provenance: Mapping[str, str] = field(default_factory=dict)
    deviations: Sequence[str] = ()
    examples: Sequence[Example] = ()
    overview: Overview | None = None
    claims: str = ""
    verdicts: Mapping[str, int] = field(default_factory=dict)
    findings: Sequence[str] = ()


def mark_words(text: str) -> str:
    """Return a response as HTML, epistemic words marked as the authors count them (inside words too)."""
    return _WORDS.sub(lambda match: f"<mark>{match.group()}</mark>", html.escape(text[:LONGEST_RESPONSE]))


def pick_examples(
    samples: pd.DataFrame,
    questions: Mapping[str, str],
    runs: Sequence[Mapping[str, str]],
    benchmark: str,
    count: int = 3,
) -> list[Example]:
    """Return the first problems of a benchmark, each answered by the given runs at their last step.

    The choice looks at no response: the first `count` problem ids, the first draw, sample 0.

    Args:
        samples: records.schemas.samples_schema. questions: problem_id -> question.
        runs: RUN_KEY fields; runs without samples there are left out.
    """
    rows = samples[(samples["benchmark"] == benchmark) & (samples["sample_index"] == 0)]
    arms = [(run, last_step(rows_of_run(rows, run))) for run in runs]
    arms = [(run, first_draw(own).set_index("problem_id")) for run, own in arms if len(own)]
    shared = set.intersection(*(set(own.index) for _, own in arms)) if arms else set()
    examples = []
    for problem_id in sorted(shared)[:count]:
        answers = [(method_style(run).label, own.loc[problem_id]) for run, own in arms]
        shown = [
            (label, row["response"], bool(row["correct"]), int(row["response_tokens"]))
            for label, row in answers
        ]
        examples.append(Example(problem_id, questions.get(problem_id, ""), shown))
    return examples


def direction(difference: Cell) -> str:
    """Return what an interval of a difference says: above, below, or not told apart from base."""
    if difference.low > 0:
        return "above base"
    return "below base" if difference.high < 0 else "not told apart from base"


def points(difference: Cell) -> str:
    """Return a difference of accuracies in points with its interval and its direction."""
    text = ours(difference, 1, 100, "+").text
    return f"{text} points ({direction(difference)})"


def run_sentence(data: StudyData, run: Mapping[str, str]) -> str | None:
    """Return one run's sentence: accuracy in and out of domain, length and words, all against its base."""
    changes = [
        final_cell(data.differences, run, name, ACCURACY, "difference") for name in (data.inside, OOD_MEAN)
    ]
    if changes[0] is None:
        return None
    text = f"{method_style(run).label}: {points(changes[0])} in domain"
    if changes[1] is not None:
        text += f", {points(changes[1])} on the OOD mean"
    for metric, name in ((LENGTH, "length"), (EPISTEMIC, "epistemic words")):
        own, base = (
            final_cell(data.estimates, one, data.inside, metric) for one in (run, base_key(run["model"]))
        )
        if own is not None and base is not None and base.estimate:
            text += f", {name} × {number(own.estimate / base.estimate, 2)}"
    return text + "."


def summary(data: StudyData) -> list[tuple[str, list[str]]]:
    """Return per model of the runs to show a head on its base and a sentence per run, all numbers from the estimates."""
    found = []
    for (model,), runs in data.runs_by("model").items():
        sentences = [sentence for run in runs if (sentence := run_sentence(data, run))]
        base = final_cell(data.estimates, base_key(model), data.inside, ACCURACY)
        if sentences and base is not None:
            draws = draws_text(str(base.n_replicates), str(base.n_seeds))
            counts = f"n = {base.n_problems} problems, k = {base.k}, draws of the base: {draws}"
            head = f"{data.label(model)}: base {ours(base, 1, 100).text} % in domain ({counts})"
            found.append((head, sentences))
    return found


def counters_sentence(data: StudyData) -> str:
    """Return whether the two counters of epistemic words (substring, whole words) tell the same, and where not."""
    rows = data.differences
    if rows.empty:
        return ""
    keys = [*RUN_KEY, "step", "benchmark"]
    sign = rows.assign(sign=(rows["low"] > 0).astype(int) - (rows["high"] < 0).astype(int))
    signs = [
        sign[sign["metric"] == metric].set_index(keys)["sign"] for metric in (EPISTEMIC, "epistemic_word")
    ]
    both = pd.concat(signs, axis=1, keys=["substring", "word"]).dropna()
    apart = both[both["substring"] != both["word"]]
    text = (
        f"The authors' substring count and a count of whole words tell the same (more, fewer, or not told apart from base) "
        f"in {len(both) - len(apart)} of {len(both)} comparisons of a run with its base"
    )
    if apart.empty:
        return f"{text}."
    shown = [
        f"{data.label(fields['model'])}, {method_style(fields).label}, |D|={fields['coverage']}, {fields['benchmark']}"
        for fields in (dict(zip(keys, key, strict=True)) for key in apart.index)
    ]
    return f"{text}; not for {'; '.join(shown)}."


def inline_image(path: Path) -> str:
    """Return a PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(Path(path).read_bytes()).decode("ascii")


def figure_sections(report: Report) -> Iterable[dict[str, str]]:
    """Yield what the page shows of each figure: its image, caption and the paper's numbers."""
    for name, (title, path, caption) in report.figures.items():
        paper = reported_table(report.data, name)
        yield {
            "name": name,
            "heading": heading(name, title),
            "image": inline_image(path),
            "caption": caption,
            "reported": paper.to_html() if paper else "",
        }


def build_report(report: Report) -> str:
    """Return the page. Text from outside is escaped; tables and claims come as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("selfdistill.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"mark_words": mark_words, "inline_image": inline_image}
    return environment.get_template("report.html.j2").render(
        report=report,
        data=report.data,
        summary=summary(report.data),
        counters=counters_sentence(report.data),
        figures=list(figure_sections(report)),
        elsewhere=reported_elsewhere(report.data, (*report.figures, *report.tables)),
        runs=run_browser(report.data, report.training_costs),
        costs=costs_table(report.costs),
        marks=MARKS,
    )
