"""What a figure or table is drawn from: the frames of one study, and the few ways in which they are selected.

`StudyData` holds tidy frames (records.schemas, statistics); every figure and table takes one and reads only the frames of its entry in
study.displays, with the rows of the runs that its experiments name (`StudyData.of_runs`). A selection that finds nothing raises
`FigureError` with the fields it looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pandas as pd

from selfdistill.report.style import coverage_key
from selfdistill.study.methods import METHODS
from selfdistill.text import span
from selfdistill.vocabulary import runs as vocabulary
from selfdistill.vocabulary.contexts import PAPER_CONTEXTS
from selfdistill.vocabulary.runs import DRAW, RUN_KEY, base_key

CONTEXTS = PAPER_CONTEXTS
METHOD_ORDER = (vocabulary.BASE, *METHODS)
ACCURACY, LENGTH, EPISTEMIC = "accuracy", "response_tokens", "epistemic_substring"


class FigureError(LookupError):
    """A figure or table has no data to show: the study has no such run."""


class Cell(NamedTuple):
    """One number with what it rests on; `low` and `high` are nan where no interval was computed."""

    estimate: float
    low: float = float("nan")
    high: float = float("nan")
    n_problems: int = 0
    k: int = 0
    n_seeds: int = 0
    n_replicates: int = 1


@dataclass(frozen=True)
class StudyData:
    """The frames and names of one study; an empty frame means `not loaded`.

    Attributes:
        runs: the runs to show, in drawing order (RUN_KEY fields); see `of_runs`.
        training: one row per training step (records.schemas.training_schema).
        estimates: numbers.study_estimates (RUN_KEY, step, benchmark, metric, interval, counts), with the rows of the benchmarks
            `ood-mean` and `section-3`.
        differences: numbers.study_differences, the same rows against base, paired by problem; of the table `screening`,
            statistics.screening.screened.
        richness: statistics.richness_estimates (model, context, written, metric, interval, counts).
        interventions: numbers.intervention_numbers (RUN_KEY, benchmark, intervention, metric, interval, counts).
        shift: numbers.frequency_shifts (RUN_KEY, word, shift, is_epistemic, counts).
        draws: numbers.draw_means (RUN_FIELDS, benchmark, means of one draw).
        problems: numbers.problems_summary of the training sets (Table 3).
        reported: tables.reported.load_reported, the paper's numbers.
        labels: model key -> name shown. roles: role (vocabulary.roles) -> model key.
        benchmarks: benchmark key -> {"label": str, "ood": bool}, in display order.
        headline: the two benchmarks of a dynamics figure's panels (b) and (c).
        broad, narrow: training data set of section 5 and of the narrow domain.
        organism: the bases are model organisms, so section 3 shows what their pre-training put in.
        plumbing: the study shows that the rules work and nothing else.
    """

    title: str = ""
    runs: Sequence[Mapping[str, str]] = ()
    training: pd.DataFrame = field(default_factory=pd.DataFrame)
    estimates: pd.DataFrame = field(default_factory=pd.DataFrame)
    differences: pd.DataFrame = field(default_factory=pd.DataFrame)
    shift: pd.DataFrame = field(default_factory=pd.DataFrame)
    draws: pd.DataFrame = field(default_factory=pd.DataFrame)
    richness: pd.DataFrame = field(default_factory=pd.DataFrame)
    interventions: pd.DataFrame = field(default_factory=pd.DataFrame)
    problems: pd.DataFrame = field(default_factory=pd.DataFrame)
    reported: pd.DataFrame = field(default_factory=pd.DataFrame)
    labels: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    benchmarks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    headline: Sequence[str] = ()
    broad: str = "chain"
    narrow: str = "narrow"
    organism: bool = True
    plumbing: bool = False

    def label(self, model: str) -> str:
        """Return the name a model is shown under."""
        return self.labels.get(model, model)

    def ordered(self, models: Iterable[str]) -> list[str]:
        """Return models in the study's order, unknown ones last by name."""
        known = list(self.labels)
        return sorted(
            set(models), key=lambda model: (known.index(model) if model in known else len(known), model)
        )

    def benchmark_label(self, benchmark: str) -> str:
        """Return the name a benchmark is shown under."""
        return str(self.benchmarks.get(benchmark, {}).get("label", benchmark))

    def benchmark_names(self, *, ood: bool | None = None) -> list[str]:
        """Return the benchmarks in display order; only the (out of) domain ones if `ood` is given."""
        return [
            name for name, entry in self.benchmarks.items() if ood is None or bool(entry.get("ood")) is ood
        ]

    @property
    def inside(self) -> str:
        """Return the benchmark that stands for the training domain: the first in domain, else the first."""
        return (self.benchmark_names(ood=False) or self.benchmark_names())[0]

    def model(self) -> str:
        """Return the one model of the runs; raise FigureError for none or several."""
        models = self.ordered(run["model"] for run in self.runs)
        if len(models) != 1:
            raise FigureError(f"draws the runs of one model; got runs of: {', '.join(models) or 'none'}")
        return models[0]

    def of_runs(self, runs: Iterable[Mapping[str, str]]) -> StudyData:
        """Return the study with these runs to show, and with their rows and those of their bases only."""
        shown = self.in_order(runs)
        kept = [*shown, *(base_key(run["model"]) for run in shown)]
        names = ("training", "estimates", "differences", "shift", "draws")
        frames = {name: rows_of_runs(getattr(self, name), kept) for name in names}
        return replace(self, runs=shown, **frames)

    def in_order(self, runs: Iterable[Mapping[str, str]]) -> tuple[Mapping[str, str], ...]:
        """Return runs in drawing order, model by model."""
        runs = list(runs)
        models = self.ordered(run["model"] for run in runs)
        return tuple(sorted(runs, key=lambda run: (models.index(run["model"]), run_order(run))))

    def runs_by(self, *fields: str) -> dict[tuple[str, ...], list[Mapping[str, str]]]:
        """Return the runs to show, grouped by some of their fields, in drawing order."""
        groups: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
        for run in self.runs:
            groups.setdefault(tuple(run[name] for name in fields), []).append(run)
        return groups


def select(frame: pd.DataFrame, what: str, **fields: Any) -> pd.DataFrame:
    """Return the rows whose columns equal the given values (a list means any of them).

    Raises:
        FigureError: no row is left, naming the fields that were looked for.
    """
    chosen = frame
    for name, value in fields.items():
        if chosen.empty:
            break
        values = value if isinstance(value, list | tuple | set) else [value]
        chosen = chosen[chosen[name].isin(list(values))]
    if chosen.empty:
        wanted = ", ".join(f"{name}={value}" for name, value in fields.items())
        raise FigureError(f"no {what} with {wanted}")
    return chosen


def of_metric(estimates: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the rows of one metric."""
    return estimates[estimates["metric"] == metric] if len(estimates) else estimates


def run_order(fields: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the sort key of a run: method, context by richness (the richest first for a teacher), teacher, variant."""
    method, context = str(fields["method"]), str(fields["context"])
    richness = CONTEXTS.index(context) if context in CONTEXTS else -1
    return (
        METHOD_ORDER.index(method),
        -richness if method in METHODS and METHODS[method].has_teacher else richness,
        str(fields["teacher"]) not in ("fixed", "none"),
        str(fields["teacher"]),
        str(fields["variant"]) != "default",
        str(fields["variant"]),
        str(fields["dataset"]),
        coverage_key(str(fields["coverage"])) if fields["coverage"] != "none" else -1.0,
    )


def runs_of(frame: pd.DataFrame) -> list[dict[str, str]]:
    """Return the distinct runs (RUN_KEY fields) of a frame in drawing order."""
    rows = frame[list(RUN_KEY)].astype(str).drop_duplicates().to_dict("records")
    return sorted(rows, key=run_order)


def rows_of_run(frame: pd.DataFrame, run: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows of one run (all its seeds); may be empty."""
    mask = pd.Series(True, index=frame.index)
    for name in RUN_KEY:
        mask &= frame[name].astype(str) == str(run[name])
    return frame[mask]


def rows_of_runs(frame: pd.DataFrame, runs: Iterable[Mapping[str, str]]) -> pd.DataFrame:
    """Return the rows of some runs in the frame's order; an empty frame stays as it is."""
    if frame.empty:
        return frame
    wanted = {tuple(str(run[name]) for name in RUN_KEY) for run in runs}
    keys = frame[list(RUN_KEY)].astype(str).itertuples(index=False, name=None)
    return frame[[key in wanted for key in keys]]


def first_draw(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one run's first replicate and its first seed."""
    lowest = rows[list(DRAW)].sort_values(list(DRAW)).iloc[0]
    return rows[(rows[list(DRAW)] == lowest).all(axis=1)]


def trajectory(data: StudyData, run: Mapping[str, str], benchmark: str, metric: str) -> pd.DataFrame:
    """Return a run's estimates of one metric on one benchmark by step, the base's as step 0."""
    rows = of_metric(data.estimates, metric)
    rows = rows[rows["benchmark"] == benchmark]
    own = rows_of_run(rows, run)
    start = rows_of_run(rows, base_key(run["model"])) if not (own["step"] == 0).any() else own.iloc[:0]
    return pd.concat([start.assign(step=0), own] if len(start) else [own]).sort_values("step")


def final_cell(
    frame: pd.DataFrame, run: Mapping[str, str], benchmark: str, metric: str, column: str = "estimate"
) -> Cell | None:
    """Return a run's number at its last step from estimates or differences, or None where there is none."""
    rows = of_metric(frame, metric)
    if rows.empty:
        return None
    rows = rows_of_run(rows[rows["benchmark"] == benchmark], run)
    return as_cell(rows.loc[rows["step"].idxmax()], column) if len(rows) else None


def as_cell(row: pd.Series, column: str = "estimate") -> Cell:
    """Return one row of estimates as a Cell; `column` is `difference` for a row of differences."""
    counts = (int(row[name]) for name in ("n_problems", "k", "n_seeds", "n_replicates"))
    return Cell(float(row[column]), float(row["low"]), float(row["high"]), *counts)


def counts_text(frame: pd.DataFrame) -> str:
    """Return `n = 128 problems, k = 4 samples per problem, 1 seed` from the counts that the estimates carry."""
    names = ("n_problems", "k", "n_replicates", "n_seeds")
    problems, samples, *draws = (span(frame[name].astype(int)) for name in names)
    return f"n = {problems} problems, k = {samples} samples per problem, {draws_text(*draws)}"


def draws_text(replicates: str, seeds: str) -> str:
    """Return over what intervals are, beside problems: `3 replicates`, `3 replicates of 2 seeds`, `3 seeds`."""
    own = f"{seeds} seed{'' if seeds == '1' else 's'}"
    if replicates == "1":
        return own
    return f"{replicates} replicates" + ("" if seeds == "1" else f" of {own}")
