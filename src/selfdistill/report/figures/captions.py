"""Sentences that captions share: which methods, which training curves, which numbers stand behind the panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from selfdistill.records.outcomes import outcome_sentence
from selfdistill.records.schemas import FAILED_OUTCOMES
from selfdistill.report.figures.curves import smoothing_window
from selfdistill.report.study_data import ACCURACY, StudyData, counts_text, draws_text, trajectory
from selfdistill.report.style import method_style
from selfdistill.vocabulary.runs import DRAW


def arm_label(run: Mapping[str, str]) -> str:
    """Return the method of a run with its context, whatever its variant: `SDPO (c=s)`."""
    return method_style({**run, "variant": "default"}).label


def arms_text(runs: Sequence[Mapping[str, str]]) -> str:
    """Return the methods of some runs: `GRPO, SDPO (c=s) and SDPO (c=s\\think) with a fixed teacher`."""
    *first, last = dict.fromkeys(map(arm_label, runs))
    fixed = {run["teacher"] for run in runs} - {"none"} == {"fixed"}
    return f"{', '.join(first)}{' and ' if first else ''}{last}{' with a fixed teacher' if fixed else ''}"


def training_text(rows: pd.DataFrame) -> str:
    """Return what a training panel shows: draws, steps and the smoothing; rows: the records drawn."""
    draws, steps = draws_text(*(str(rows[name].nunique()) for name in DRAW)), int(rows["step"].max()) + 1
    parts = [f"Training: {draws}, {steps} steps"]
    if len(rows[[*DRAW]].drop_duplicates()) > 1:
        parts.append("band: range over them")
    if smoothing_window(steps) > 1:
        parts.append(f"bold: {smoothing_window(steps)}-step running mean over batch means")
    return "; ".join(parts) + "."


def benchmark_text(data: StudyData, runs: Sequence[Mapping[str, str]], benchmarks: Sequence[str]) -> str:
    """Return the counts behind the benchmark panels of some runs."""
    rows = [trajectory(data, run, name, ACCURACY) for run in runs for name in benchmarks]
    rows = [frame for frame in rows if len(frame)]
    if not rows:
        return "No benchmark estimates."
    counts = counts_text(pd.concat(rows))
    shown = f"Benchmarks: {counts}; bands or upright lines: 95 % intervals; dotted level: base."
    return f"{shown} {outcomes_text(data, runs, benchmarks)}".strip()


def outcomes_text(data: StudyData, runs: Sequence[Mapping[str, str]], benchmarks: Sequence[str]) -> str:
    """Return which shares of the responses behind some panels were truncated or could not be judged."""
    shares = {}
    for metric in ("truncated", *FAILED_OUTCOMES):
        frames = [trajectory(data, run, name, metric)["estimate"] for run in runs for name in benchmarks]
        shown = pd.concat(frames).dropna() if frames else pd.Series(dtype=float)
        if len(shown):
            shares[metric] = float(shown.mean())
    return outcome_sentence(shares) if shares else ""
