"""The claims ledger: the job that judges it, and its forms for readers: Markdown, a fragment of the page, the summary's sentences.

All of it is written from the record of `claims.judge.as_record` (claims.json), so nothing here can change a verdict.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from selfdistill.claims.judge import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    VERDICTS,
    as_record,
    judge_claims,
    judge_part,
)
from selfdistill.claims.ledger import load_ledger
from selfdistill.claims.selection import from_params
from selfdistill.records.files import write_text
from selfdistill.records.task import Facts, Task, job
from selfdistill.report.loading import claim_frames
from selfdistill.report.tables.form import number
from selfdistill.text import pipe_table, span

SYMBOLS = {REPRODUCED: "✔", NOT_REPRODUCED: "✘", INCONCLUSIVE: "?", NOT_RUN: "–"}
"""Shown beside the word, so that a verdict does not depend on colour."""
NAMES = {
    "accuracy": "accuracy",
    "pass@k": "pass@k",
    "response_tokens": "length",
    "epistemic_substring": "epistemic words (substring)",
    "epistemic_word": "epistemic words (whole words)",
    "epistemic_per_1000_tokens": "epistemic words in 1000 tokens",
}
PERCENT = ("accuracy", "pass@k")
Record = Mapping[str, Any]


@job()
def judge(task: Task) -> Facts:
    """Write the claims ledger (effects, intervals, verdicts) as JSON, Markdown and HTML."""
    params = task.params["job"]
    ledger, parts = load_ledger(task.input.ledger), from_params(params["parts"])
    frames = claim_frames(task.input)
    results = [judge_part(part, frames, ledger.alpha) for part in parts]
    record = as_record(ledger, params["study"], judge_claims(ledger, results))
    write_text(task.output.json, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    write_text(task.output.md, to_markdown(record))
    write_text(task.output.html, to_html(record))
    return counts_of(record)


def effect_text(part: Record) -> str:
    """Return a part's effect with its interval: points for accuracies, percent for relative effects, else the unit itself."""
    if part["effect"] is None:
        return SYMBOLS[NOT_RUN]
    level = len(part["arms"]) == 1
    share = part["relative"] or part["metric"] in PERCENT
    scale, digits, sign = (100 if share else 1), (1 if share else 2), ("" if level else "+")
    values = [
        number(part[key] * scale, digits, sign) for key in ("effect", "low", "high") if part[key] is not None
    ]
    unit = " %" if part["relative"] or (level and share) else " points" if share else ""
    return values[0] + (f" [{', '.join(values[1:])}]" if len(values) == 3 else "") + unit


def expected_text(part: Record) -> str:
    """Return the claimed bounds of a part in the units of `effect_text`."""
    share = part["relative"] or part["metric"] in PERCENT
    bounds = []
    for key, sign in (("above", ">"), ("below", "<")):
        if part[key] is not None:
            value = part[key] * (100 if share else 1)
            bounds.append(f"{sign} {number(value, 0 if value == round(value) else 2)}")
    return " and ".join(bounds)


def p_text(value: float | None) -> str:
    """Return a p value for readers."""
    if value is None:
        return SYMBOLS[NOT_RUN]
    return "< 0.001" if value < 0.001 else number(value, 3)


def verdict_text(verdict: str) -> str:
    """Return a verdict with its symbol."""
    return f"{SYMBOLS[verdict]} {verdict}"


def counts_text(claim: Record) -> str:
    """Return problems, samples and seeds behind a claim's parts."""
    run = [part for part in claim["parts"] if part["seeds"]]
    if not run:
        return SYMBOLS[NOT_RUN]
    return " / ".join(span(part[key] for part in run) for key in ("n_problems", "k", "seeds"))


def leading_part(claim: Record) -> Record | None:
    """Return the part that decides a claim: the one with the largest p(for), among those that count."""
    counted = [part for part in claim["parts"] if part["counts"] and part["p_for"] is not None]
    return max(counted, key=lambda part: part["p_for"]) if counted else None


def summary_sentences(record: Record) -> list[str]:
    """Return three sentences from the ledger: how many claims hold, which do not, what was not run or stays open."""
    paper = [claim for claim in record["claims"] if claim["name"].startswith("C")]
    names = {
        verdict: [claim["name"] for claim in paper if claim["verdict"] == verdict] for verdict in VERDICTS
    }
    tested = len(paper) - len(names[NOT_RUN])

    def listed(verdict: str) -> str:
        found = ", ".join(names[verdict])
        return f"{len(names[verdict])}" + (f" ({found})" if found else "")

    return [
        f"Of the paper's {len(paper)} claims this study tests {tested}, and {listed(REPRODUCED)} are reproduced.",
        f"Not reproduced: {listed(NOT_REPRODUCED)}; their effects lie outside of what is claimed.",
        f"Inconclusive at this number of problems and seeds: {listed(INCONCLUSIVE)}; not run: {listed(NOT_RUN)}.",
    ]


def to_markdown(record: Record) -> str:
    """Return the ledger as Markdown: the summary, one row per claim, then each claim's parts."""
    lines = [
        f"# Claims, study {record['study']}",
        "",
        *(f"- {text}" for text in summary_sentences(record)),
        "",
    ]
    heads = ("claim", "verdict", "deciding effect", "p for", "p against", "n / k / seeds")
    lines += [pipe_table(heads, map(claim_cells, record["claims"]))]
    lines += ["", RULE_TEXT.format(alpha=record["alpha"]), ""]
    return "\n".join(lines + [line for claim in record["claims"] for line in claim_lines(claim)])


def claim_lines(claim: Record) -> list[str]:
    """Return one claim's section in Markdown."""
    head = [f"## {claim['name']} {verdict_text(claim['verdict'])}", "", claim["statement"], ""]
    head += [f"The paper ({claim['place']}): {claim['reported'] or 'no numbers'}. {claim['reason']}.", ""]
    if not claim["parts"]:
        return head
    heads = ("part", "model", "measure", "claimed", "effect", "sign-flip p", "verdict")
    return [*head, pipe_table(heads, map(part_cells, claim["parts"])), ""]


def claim_cells(claim: Record) -> list[str]:
    """Return a claim's row in Markdown."""
    part = leading_part(claim)
    effect = f"{part['name']}: {effect_text(part)}" if part else claim["reason"]
    cells = [f"{claim['name']}. {claim['statement']}", verdict_text(claim["verdict"]), effect]
    return [*cells, p_text(claim["p_for"]), p_text(claim["p_against"]), counts_text(claim)]


def part_cells(part: Record) -> list[str]:
    """Return a part's row: name, model, measure, claimed bounds, effect, sign-flip check, verdict."""
    name = part["name"] if part["counts"] else f"({part['name']})"
    metric = NAMES.get(part["metric"], part["metric"].replace("substring_", "count of "))
    verdict = verdict_text(part["verdict"]) + (f": {part['reason']}" if part["reason"] else "")
    return [
        name,
        part["model"],
        f"{metric}, {part['benchmark']}",
        expected_text(part),
        effect_text(part),
        p_text(part["p_flip"]),
        verdict,
    ]


RULE_TEXT = (
    "Effects are paired by problem, with 95 % intervals from a two-level bootstrap (training seed and problem). They are those of the "
    "base models that training began from: another base of the same recipe may give others. A claim is "
    "reproduced if every part lies within its claimed bounds (largest one-sided p, Holm-corrected in its family, at most "
    "{alpha} / 2), not reproduced if one lies outside by the same measure, and inconclusive otherwise. Parts in parentheses "
    "are extensions that do not count. The sign-flip p is a permutation check of the effect against 0, where arms are paired. "
    "The rule and every margin stand in config/claims.yaml."
)


def to_html(record: Record) -> str:
    """Return the ledger as a fragment of the report: a sortable table, and each claim's parts to unfold."""
    rows = "\n".join(map(html_row, record["claims"]))
    head = "".join(f'<th scope="col">{name}</th>' for name in HEADS)
    details = "\n".join(map(html_details, record["claims"]))
    rule = html.escape(RULE_TEXT.format(alpha=record["alpha"]))
    return (
        f'<div class="scroll"><table class="sortable" id="claims-table"><caption>Claims of the paper (C) and of this study '
        f"(X)</caption><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>\n"
        f'<p class="note">{rule}</p>\n{details}\n'
    )


HEADS = ("Claim", "Verdict", "Deciding part", "Effect", "p for", "p against", "n / k / seeds", "Shown in")


def html_row(claim: Record) -> str:
    """Return one claim's row in HTML."""
    part = leading_part(claim)
    kind, place = claim["name"][0], int(claim["name"][1:])
    texts = [f"{claim['name']}. {claim['statement']}", verdict_text(claim["verdict"])]
    texts += [part["name"] if part else claim["reason"], effect_text(part) if part else SYMBOLS[NOT_RUN]]
    texts += [p_text(claim["p_for"]), p_text(claim["p_against"]), counts_text(claim)]
    sort = [place + 100 * (kind == "X"), None, None, None, claim["p_for"], claim["p_against"], None]
    css = ["", f"verdict {claim['verdict'].replace(' ', '-')}", "", "number", "", "", ""]
    cells = [html_cell(text, value, name) for text, value, name in zip(texts, sort, css, strict=True)]
    return f"<tr>{''.join(cells)}<td>{html_link(claim['figure'])}</td></tr>"


def html_cell(text: str, sort: float | None, css: str) -> str:
    """Return one cell with the number to sort by and its class."""
    value = "" if sort is None else f' data-sort="{sort:.10g}"'
    kind = f' class="{css}"' if css else ""
    return f"<td{value}{kind}>{html.escape(text)}</td>"


def html_link(figure: str | None) -> str:
    """Return a link to the figure or table that shows a claim."""
    return f'<a href="#{figure}">{figure}</a>' if figure else SYMBOLS[NOT_RUN]


def html_details(claim: Record) -> str:
    """Return one claim's parts, folded."""
    heads = ("Part", "Model", "Measure", "Claimed", "Effect", "Sign-flip p", "Verdict")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in part_cells(part)) + "</tr>"
        for part in claim["parts"]
    )
    table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    text = f"The paper ({claim['place']}): {claim['reported'] or 'no numbers'}. {claim['reason']}."
    title = html.escape(f"{claim['name']} {verdict_text(claim['verdict'])}: {claim['statement']}")
    body = f"<p>{html.escape(text)}</p>{table if claim['parts'] else ''}"
    return f'<details class="claim" id="claim-{claim["name"]}"><summary>{title}</summary>{body}</details>'


def counts_of(record: Record) -> dict[str, int]:
    """Return how many of the paper's claims have each verdict."""
    names: Sequence[str] = [claim["verdict"] for claim in record["claims"] if claim["name"].startswith("C")]
    return {verdict: names.count(verdict) for verdict in VERDICTS}
