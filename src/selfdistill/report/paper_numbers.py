"""The paper's numbers in the form of ours: levels of an arm, from which a claim's effect is computed by the same formula.

config/reported.yaml keeps each number as the paper prints it. `paper_levels` turns the entries whose quantity is a level of one arm into one
row per step; `levels_of` looks up the arms of a claim's part. What the paper does not report stays unknown: no level, no effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from selfdistill.claims.ledger import ROLLOUTS
from selfdistill.claims.reported import MEASURES, UNKNOWN, Measure
from selfdistill.claims.selection import step_at
from selfdistill.report.study_data import ACCURACY
from selfdistill.report.tables.form import number
from selfdistill.vocabulary.contexts import NONE
from selfdistill.vocabulary.interventions import NONE as NO_INTERVENTION
from selfdistill.vocabulary.marks import MARKS
from selfdistill.vocabulary.runs import BASE, DEFAULT, FULL, SECTION_3
from selfdistill.vocabulary.teachers import FIXED

PAPER_MODELS = {
    "deepseek": "DeepSeek-R1-Distill-Qwen-7B",
    "qwen3-think": "Qwen3-8B (thinking on)",
    "qwen3-nothink": "Qwen3-8B (thinking off)",
    "olmo3": "Olmo-3-7B-Instruct",
}
"""Role (vocabulary.roles) -> the paper's model, as reported.yaml names it."""
UNNAMED = {"table1": SECTION_3, "figure9": SECTION_3, "figure7": "training"}
"""Display -> the benchmark that its entries leave out."""
BENCHMARKS = {"chemistry": "narrow"}
"""The paper's benchmark in lower case -> the name in claims.yaml, where they differ."""
NOT_SUMMED = (SECTION_3, *ROLLOUTS, "narrow", UNKNOWN)
"""What is no benchmark of the paper's mathematics, so that it never stands for a mean over ours."""


class PaperLevels(NamedTuple):
    """The paper's levels of the arms of one effect. values, errors (half widths): one per arm; mark: the weakest of them."""

    values: tuple[float, ...]
    errors: tuple[float, ...]
    mark: str
    model: str
    benchmark: str


def paper_levels(reported: pd.DataFrame) -> pd.DataFrame:
    """Return the reported levels, one row per arm, metric and step.

    Returns: columns place, model, method, context, teacher, coverage, benchmark (as claims.yaml names it), shown (as the paper does),
        metric, step (NaN: a number outside of a curve), at, value (fractions for accuracies), error (0: none known), mark.
    """
    rows = [row for _, entry in reported.iterrows() for row in entry_levels(entry)]
    return pd.DataFrame(rows)


def entry_levels(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the levels of one entry of reported.yaml; none if it has no value or is no level."""
    measure = MEASURES.get(entry["quantity"])
    if measure is None:
        return
    scale, error = measure.scale, entry.get("error") or 0.0
    arm = (
        arm_fields(entry) | {"error": error * scale, "mark": entry["mark"]} | benchmark_fields(entry, measure)
    )
    for word, count in (entry.get("words") or {}).items():
        yield {**arm, "metric": f"substring_{word}", "step": np.nan, "at": measure.at, "value": count}
    steps = entry.get("steps") or []
    for step, value in zip(steps, entry.get("values") or [], strict=True):
        share = step / steps[-1]
        yield {**arm, "metric": measure.metric, "step": step, "at": share, "value": value * scale}
    if entry.get("value") is not None:
        value = entry["value"] * scale
        yield {**arm, "metric": measure.metric, "step": np.nan, "at": measure.at, "value": value}


def arm_fields(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return place, model and run fields of an entry; what it leaves out has the study's usual value."""
    method = entry.get("method") or BASE
    distils = method == "sdpo"
    usual = {
        "context": "solution" if distils else NONE,
        "teacher": FIXED if distils else NONE,
        "coverage": NONE if method == BASE else FULL,
    }
    given = {name: entry.get(name) or value for name, value in usual.items()}
    return {"place": entry["place"], "model": entry.get("model") or "", "method": method, **given}


def benchmark_fields(entry: Mapping[str, Any], measure: Measure) -> dict[str, str]:
    """Return the benchmark of an entry as claims.yaml names it, and its name (its place, if it has none) in the paper."""
    name = (entry.get("benchmark") or measure.benchmark or UNNAMED.get(entry["place"], "")).lower()
    return {"benchmark": BENCHMARKS.get(name, name), "shown": entry.get("benchmark") or entry["paper"]}


def levels_of(part: Mapping[str, Any], levels: pd.DataFrame, roles: Mapping[str, str]) -> list[PaperLevels]:
    """Return what the paper reports for the arms of a part of claims.json: one per model and benchmark, [] if an arm is unknown.

    levels: see `paper_levels`. roles: the study's model -> its role (`roles_of`). The paper has no interventions.
    """
    if (
        levels.empty
        or not part["arms"]
        or any(arm["intervention"] != NO_INTERVENTION for arm in part["arms"])
    ):
        return []
    if len({(*arm["benchmarks"], arm["metric"]) for arm in part["arms"]}) > 1:
        return []  # no reported quantity spans benchmarks or metrics
    found, known = [], levels[levels["metric"] == part["metric"]]
    for benchmark, model in product(benchmarks_of(part, known), models_of(part, known)):
        for _, rows in known[known["benchmark"] == benchmark].groupby("place", sort=False):
            one = joint_levels(part, rows, roles, model)
            if one is not None:
                found.append(one)
                break
    return found


def roles_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the study's model -> its role, from the parts of claims.json that are about one model."""
    return {
        arm["run"]["model"]: part["model"]
        for claim in record["claims"]
        for part in claim["parts"]
        if part["model"] in PAPER_MODELS
        for arm in part["arms"]
        if len({one["run"]["model"] for one in part["arms"]}) == 1
    }


def benchmarks_of(part: Mapping[str, Any], levels: pd.DataFrame) -> list[str]:
    """Return the paper's benchmarks beside a part: its own, or all of them for a mean or a benchmark that the paper does not have."""
    own, names = part["benchmark"], list(dict.fromkeys(levels["benchmark"]))
    if own in ("aime24", "amc23"):
        return [name for name in (own, UNKNOWN) if name in names]
    if own in NOT_SUMMED:
        return [own] if own in names else []
    return [name for name in names if name not in NOT_SUMMED]


def models_of(part: Mapping[str, Any], levels: pd.DataFrame) -> list[str]:
    """Return the paper's models beside a part: `""` for those of its arms; in the narrow domain, which the paper borrows, every one."""
    if part["benchmark"] != "narrow":
        return [""]
    return list(dict.fromkeys(levels.loc[levels["benchmark"] == "narrow", "model"]))


def joint_levels(
    part: Mapping[str, Any], rows: pd.DataFrame, roles: Mapping[str, str], model: str
) -> PaperLevels | None:
    """Return the levels of all arms of a part from one place of the paper, None if one is unknown."""
    arms = part["arms"]
    names = [model or PAPER_MODELS.get(roles.get(arm["run"]["model"], part["model"]), "") for arm in arms]
    mine = [
        arm_rows(arm["run"], rows[rows["model"] == name], varied=part["benchmark"] != "narrow")
        for arm, name in zip(arms, names, strict=True)
    ]
    ends = [
        one["step"].max()
        for arm, one in zip(arms, mine, strict=True)
        if arm["run"]["method"] != BASE and one["step"].notna().any()
    ]
    found = [level_at(arm, one, min(ends, default=np.nan)) for arm, one in zip(arms, mine, strict=True)]
    if any(one is None for one in found):
        return None
    return PaperLevels(
        values=tuple(float(one["value"]) for one in found),
        errors=tuple(float(one["error"]) for one in found),
        mark=weakest([one["mark"] for one in found]),
        model=" and ".join(dict.fromkeys(names)),
        benchmark=rows["shown"].iloc[0],
    )


def arm_rows(run: Mapping[str, str], rows: pd.DataFrame, *, varied: bool = True) -> pd.DataFrame:
    """Return the levels of a run: those with its fields; of a base without context, those at step 0 of any run too.

    varied: whether a variant of a run on all problems is another experiment than the paper's, so that it has no levels.
    """
    if run["method"] == BASE:
        own = (rows["method"] == BASE) & (rows["context"] == run["context"])
        return rows[own | (rows["at"] == 0)] if run["context"] == NONE else rows[own]
    if varied and run["coverage"] == FULL and run["variant"] != DEFAULT:
        return rows.iloc[:0]
    mine = pd.Series(True, index=rows.index)
    for name in ("method", "context", "teacher", "coverage"):
        mine &= rows[name] == run[name]
    return rows[mine]


def level_at(arm: Mapping[str, Any], rows: pd.DataFrame, end: float) -> pd.Series | None:
    """Return the level of an arm at its share of the steps: a printed number, else the point of a curve; None if there is none.

    end: the last step that the curves of all trained arms have in common, as both our arms end at the same step. Before its first
    step a training has no level.
    """
    share = 0.0 if arm["run"]["method"] == BASE and (rows["at"] == 0).any() else arm["step"]
    printed = rows[rows["step"].isna() & (rows["at"] == share)]
    if len(printed):
        return printed.iloc[0]
    curve = rows[rows["step"].notna()]
    if curve.empty:
        return None
    reached = [int(one) for one in curve["step"] if 0 < one <= end]
    if share > 0 and not reached:
        return None
    step = 0 if share == 0 else step_at(reached, share)
    point = curve[curve["step"] == step]
    return point.iloc[0] if len(point) else None


def weakest(marks: Sequence[str]) -> str:
    """Return the least secure of some marks."""
    return max(marks, key=list(MARKS).index)


def relative_change(part: Mapping[str, Any], reported: pd.DataFrame, roles: Mapping[str, str]) -> str:
    """Return what the paper reports of a part only as a share of an unknown base (`−12.1 % of its base (AIME24) [V]`), else `""`."""
    arms = part["arms"]
    if part["metric"] != ACCURACY or len(arms) != 2 or arms[1]["run"]["method"] != BASE or reported.empty:
        return ""
    run = arms[0]["run"]
    name = PAPER_MODELS.get(roles.get(run["model"], part["model"]), "")
    rows = reported[(reported["quantity"] == "relative change (%)") & (reported["model"] == name)]
    rows = rows[(rows["method"] == run["method"]) & (rows["context"] == run["context"])]
    if rows.empty or (run["teacher"], run["coverage"], run["variant"]) != (FIXED, FULL, DEFAULT):
        return ""
    entry = rows.iloc[0]
    return f"{number(entry['value'], 1, '+')} % of its base ({entry['benchmark']}) [{entry['mark']}]"
