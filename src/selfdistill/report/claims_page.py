"""The claims ledger: the job that judges it, and its forms for readers: Markdown, a fragment of the page, the summary's sentences.

All of it is written from the record of `claims.verdicts.as_record` (claims.json), so nothing here can change a verdict.
"""

from __future__ import annotations

import html
import json

from selfdistill.claims.elsewhere import load_elsewhere
from selfdistill.claims.judge import judge_parts
from selfdistill.claims.ledger import is_own, load_ledger
from selfdistill.claims.selection import from_params
from selfdistill.claims.verdicts import NOT_RUN, as_record, judge_claims
from selfdistill.records.files import write_text
from selfdistill.records.task import Facts, Task, job
from selfdistill.report.claim_parts import claim_forest
from selfdistill.report.claims_summary import counts_of, summary_sentences
from selfdistill.report.deciding import leading_part
from selfdistill.report.elsewhere import elsewhere_lines, elsewhere_text, html_elsewhere
from selfdistill.report.forest import VERDICT_LOOKS, Record, kind_of
from selfdistill.report.loading import claim_frames
from selfdistill.report.tables.form import number
from selfdistill.text import pipe_table, span
from selfdistill.vocabulary.marks import ELSEWHERE_MARKS

SYMBOLS = {verdict: look.symbol for verdict, look in VERDICT_LOOKS.items()}
"""Shown beside the word, so that a verdict does not depend on colour."""
NAMES = {
    "accuracy": "accuracy",
    "pass@k": "pass@k",
    "response_tokens": "length",
    "epistemic_substring": "epistemic words (substring)",
    "epistemic_word": "epistemic words (whole words)",
    "epistemic_per_1000_tokens": "epistemic words in 1000 tokens",
    "shift_epistemic": "shift of the epistemic words over that of other words",
}


@job()
def judge(task: Task) -> Facts:
    """Write the claims ledger (effects, intervals, verdicts) as JSON, Markdown and HTML."""
    params = task.params["job"]
    ledger, parts = load_ledger(task.input.ledger), from_params(params["parts"])
    frames = claim_frames(task.input, parts)
    results = judge_parts(parts, frames, ledger.alpha)
    elsewhere = load_elsewhere(task.input.elsewhere)
    record = as_record(ledger, params["study"], judge_claims(ledger, results), elsewhere)
    write_text(task.output.json, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    write_text(task.output.md, to_markdown(record))
    write_text(task.output.html, to_html(record))
    return counts_of(record)


def effect_text(part: Record) -> str:
    """Return a part's effect with its interval: points for accuracies, percent for relative effects, else the unit itself."""
    if part["effect"] is None:
        return SYMBOLS[NOT_RUN]
    kind = kind_of(part)
    known = [part[key] * kind.scale for key in ("effect", "low", "high") if part[key] is not None]
    values = [number(value, 1 if kind.unit else 2, kind.sign) for value in known]
    return values[0] + (f" [{', '.join(values[1:])}]" if len(values) == 3 else "") + kind.unit


def expected_text(part: Record) -> str:
    """Return the claimed bounds of a part, and the smallest effect of interest, in the units of `effect_text`."""
    scale = kind_of(part).scale

    def shown(value: float) -> str:
        value = round(value * scale, 10)
        return number(value, 0 if value == round(value) else 2)

    bounds = [
        f"{sign} {shown(part[key])}"
        for key, sign in (("above", ">"), ("below", "<"))
        if part[key] is not None
    ]
    return " and ".join(bounds) + (f", by {shown(part['margin'])}" if part["margin"] else "")


def p_text(value: float | None) -> str:
    """Return a p value for readers."""
    if value is None:
        return SYMBOLS[NOT_RUN]
    return "< 0.001" if value < 0.001 else number(value, 3)


def verdict_text(verdict: str) -> str:
    """Return a verdict with its symbol."""
    return f"{SYMBOLS[verdict]} {verdict}"


def ledger_counts(claim: Record) -> str:
    """Return problems, samples, replicates and seeds behind a claim's parts."""
    run = [part for part in claim["parts"] if part["seeds"]]
    if not run:
        return SYMBOLS[NOT_RUN]
    return " / ".join(span(part[key] for part in run) for key in ("n_problems", "k", "replicates", "seeds"))


def clause_text(claim: Record, key: str) -> str:
    """Return the p values of a claim's clauses: `0.003`, or `a 0.003, b 0.200`; a line breaks between clauses only."""
    return ", ".join(f"{clause['name']}\u00a0{p_text(clause[key])}".strip() for clause in claim["clauses"])


def to_markdown(record: Record) -> str:
    """Return the ledger as Markdown: the summary, one row per claim, then each claim's parts."""
    lines = [
        f"# Claims, study {record['study']}",
        "",
        *(f"- {text}" for text in summary_sentences(record)),
        "",
    ]
    heads = ("claim", "verdict", "deciding effect", "p for", "p against", COUNTS, "elsewhere")
    lines += [pipe_table(heads, map(claim_cells, record["claims"]))]
    lines += ["", rule_text(record), ""]
    return "\n".join(lines + [line for claim in record["claims"] for line in claim_lines(claim)])


def claim_lines(claim: Record) -> list[str]:
    """Return one claim's section in Markdown."""
    name = claim["name"]
    head = [
        f'<a id="{name.lower()}"></a>',
        "",
        f"## {name} {verdict_text(claim['verdict'])}",
        "",
        claim["statement"],
        "",
    ]
    head += [f"The paper ({claim['place']}): {claim['reported'] or 'no numbers'}. {claim['reason']}.", ""]
    others = elsewhere_lines(claim)
    if not claim["parts"]:
        return [*head, *others]
    heads = ("part", "model", "measure", "claimed", "effect", "verdict")
    return [*head, pipe_table(heads, map(part_cells, claim["parts"])), "", *others]


def claim_cells(claim: Record) -> list[str]:
    """Return a claim's row in Markdown."""
    part = leading_part(claim["parts"], claim["verdict"])
    effect = f"{part['name']}: {effect_text(part)}" if part else claim["reason"]
    cells = [f"{claim['name']}. {claim['statement']}", verdict_text(claim["verdict"]), effect]
    cells += [clause_text(claim, "p_for"), clause_text(claim, "p_against"), ledger_counts(claim)]
    return [*cells, elsewhere_text(claim)]


def part_cells(part: Record) -> list[str]:
    """Return a part's row: name with its clause, model, measure, claimed bounds, effect, verdict."""
    name = f"{part['clause']}: {part['name']}" if part["clause"] else part["name"]
    name = name if part["counts"] else f"({name})"
    metric = NAMES.get(part["metric"], part["metric"].replace("substring_", "count of "))
    verdict = verdict_text(part["verdict"]) + (f": {part['reason']}" if part["reason"] else "")
    measure = f"{metric}, {part['benchmark']}"
    return [name, part["model"], measure, expected_text(part), effect_text(part), verdict]


COUNTS = "n / k / replicates / seeds"
RULE_TEXT = (
    "Effects are paired by problem and draw, with 95 % intervals of Student's distribution over {over}. A clause is "
    "reproduced if every part lies within its claimed bounds (largest one-sided p, Holm-corrected over the clauses of its family, at most "
    "{alpha} / 2), not reproduced if one lies outside, or stays short of the smallest effect of interest (`by`), by the same measure, and "
    "inconclusive otherwise; a claim reports its clauses. The mark of a part is that of its own p value, before the correction. "
    "Parts in parentheses do not count. "
    "The rule, and the reason of every bound, stand in config/claims.yaml, or in the file of claims that the study file names. "
    "Elsewhere: what others measured since (config/elsewhere.yaml); it enters no verdict."
)
ELSEWHERE_TEXT = "Silent: something that the claim compares is not known. Marks: " + "; ".join(
    f"{mark}: {meaning}" for mark, meaning in ELSEWHERE_MARKS.items()
)


def rule_text(record: Record) -> str:
    """Return the rule for readers, with what the intervals are over."""
    parts = [part for claim in record["claims"] for part in claim["parts"] if part["seeds"]]
    replicates = max((part["replicates"] for part in parts), default=1)
    seeds = max((part["seeds"] for part in parts), default=1)
    if replicates > 1:
        over = f"problems and {replicates} replicates, each with its own bases, data and training"
    elif seeds > 1:
        over = (
            f"problems and {seeds} seeds of the same bases: other bases of the recipe may give other effects"
        )
    else:
        over = "problems only: the bases and trainings are one draw"
    return f"{RULE_TEXT.format(over=over, alpha=record['alpha'])} {ELSEWHERE_TEXT}."


def to_html(record: Record) -> str:
    """Return the ledger as a fragment of the report: a sortable table, and each claim's parts to unfold."""
    rows = "\n".join(map(html_row, record["claims"]))
    head = "".join(f'<th scope="col">{name}</th>' for name in HEADS)
    details = "\n".join(map(html_details, record["claims"]))
    rule = html.escape(rule_text(record))
    return (
        f'<div class="scroll"><table class="sortable" id="claims-table"><caption>Claims of the paper (C) and of this study '
        f"(X)</caption><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>\n"
        f'<p class="note">{rule}</p>\n{details}\n'
    )


HEADS = ("Claim", "Verdict", "Deciding part", "Effect", "p for", "p against", COUNTS, "Elsewhere", "Shown in")


def html_row(claim: Record) -> str:
    """Return one claim's row in HTML."""
    part = leading_part(claim["parts"], claim["verdict"])
    place = int(claim["name"][1:]) + 100 * is_own(claim["name"])
    texts = [f"{claim['name']}. {claim['statement']}", verdict_text(claim["verdict"])]
    texts += [part["name"] if part else claim["reason"], effect_text(part) if part else SYMBOLS[NOT_RUN]]
    texts += [clause_text(claim, "p_for"), clause_text(claim, "p_against"), ledger_counts(claim)]
    texts += [elsewhere_text(claim)]
    known = [clause for clause in claim["clauses"] if clause["p_for"] is not None]
    p_for = max((clause["p_for"] for clause in known), default=None)
    p_against = min((clause["p_against"] for clause in known), default=None)
    sort = [place, None, None, None, p_for, p_against, None, None]
    css = ["", f"verdict {claim['verdict'].replace(' ', '-')}", "", "number", "", "", "", ""]
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
    heads = ("Part", "Model", "Measure", "Claimed", "Effect", "Verdict")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in part_cells(part)) + "</tr>"
        for part in claim["parts"]
    )
    table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    text = f"The paper ({claim['place']}): {claim['reported'] or 'no numbers'}. {claim['reason']}."
    title = html.escape(f"{claim['name']} {verdict_text(claim['verdict'])}: {claim['statement']}")
    body = f"<p>{html.escape(text)}</p>{claim_forest(claim)}{table if claim['parts'] else ''}"
    body += html_elsewhere(claim)
    return f'<details class="claim" id="claim-{claim["name"]}"><summary>{title}</summary>{body}</details>'
