"""The same problem as several runs answer it, side by side, the epistemic words marked.

`collect_answers` puts the runs' responses beside the problems, `choose_problems` picks problems by who was
right, `answers_html` shows them. Which sample of a problem is shown is fixed by its index and never by what
it says, so a shown example is not a chosen one unless the filter says so.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import pandas as pd

from selfdistill.explore.results import ResultsError, StudyResults
from selfdistill.report.page import mark_words
from selfdistill.statistics import last_step
from selfdistill.vocabulary.looks import BLUE, VERMILLION
from selfdistill.vocabulary.runs import RUN_FIELDS

_COLUMNS = ("problem_id", "question", "answers", "label", "response", "extracted_answer", "correct")
_COUNTS = ("outcome", "response_tokens", "epistemic_substring", "epistemic_word")
_CARD = "flex: 1 1 0; min-width: 15em; padding: 0 0.8em; border-left: 3px solid {colour};"
_TEXT = "white-space: pre-wrap; overflow-wrap: anywhere; font-family: monospace; margin: 0.3em 0 1em 0;"


def collect_answers(
    results: StudyResults, runs: pd.DataFrame, benchmark: str, sample_index: int = 0
) -> pd.DataFrame:
    """Return what each of `runs` answers to each problem of a benchmark, at its last step.

    runs: rows of `StudyResults.runs`, of one model. Returns one row a problem and run: problem_id, question,
    answers (the right ones), label, response, extracted_answer, correct, outcome, response_tokens,
    epistemic_substring, epistemic_word. Raises ResultsError if runs would share a label (several draws).
    """
    if runs["label"].duplicated().any():
        twice = sorted(runs["label"][runs["label"].duplicated()].unique())
        raise ResultsError(
            f"several runs are called {', '.join(twice)}: choose one model, one replicate and one seed"
        )
    problems = results.problems(benchmark)
    frames = []
    for run in runs.to_dict("records"):
        fields = {name: run[name] for name in RUN_FIELDS}
        own = results.samples(benchmark=benchmark, sample_index=sample_index, **fields)
        frames.append(last_step(own).assign(label=run["label"]))
    answers = pd.concat(frames, ignore_index=True).join(problems[["question", "answers"]], on="problem_id")
    return answers[[*_COLUMNS, *_COUNTS]]


def choose_problems(answers: pd.DataFrame, right: Iterable[str] = (), wrong: Iterable[str] = ()) -> list[str]:
    """Return the problems that the runs labelled in `right` solved and those in `wrong` did not, in order of their id.

    Raises ResultsError for a label that the answers do not have.
    """
    solved = answers.pivot(index="problem_id", columns="label", values="correct").astype(bool)
    right, wrong = list(right), list(wrong)
    if unknown := [label for label in (*right, *wrong) if label not in solved.columns]:
        raise ResultsError(f"no run is called {unknown}; there are: {', '.join(solved.columns)}")
    chosen = solved[right].all(axis=1) & ~solved[wrong].any(axis=1)
    return sorted(solved.index[chosen])


def answers_html(answers: pd.DataFrame, problem_ids: Sequence[str]) -> str:
    """Return the problems with all their answers in columns; all text from responses is escaped."""
    parts = []
    for problem_id in problem_ids:
        rows = answers[answers["problem_id"] == problem_id]
        first = rows.iloc[0]
        expected = html.escape(" or ".join(first["answers"]))
        parts.append(
            f"<h4>{html.escape(problem_id)}: {html.escape(first['question'])} (right: {expected})</h4>"
        )
        parts.append(f'<div style="display: flex">{"".join(_card(row) for _, row in rows.iterrows())}</div>')
    return "\n".join(parts)


def _card(row: pd.Series) -> str:
    """Return one answer: who gave it, whether it is right (in words, not only by colour), how long, its text."""
    style = _CARD.format(colour=BLUE if row["correct"] else VERMILLION)
    verdict = "✓ right" if row["correct"] else f"✗ {row['outcome'].replace('_', ' ')}"
    counts = f"{row['response_tokens']} tokens, {row['epistemic_substring']} epistemic words"
    head = f"<b>{html.escape(row['label'])}</b><br>{verdict}, {counts}"
    return f'<div style="{style}">{head}<div style="{_TEXT}">{mark_words(row["response"])}</div></div>'
