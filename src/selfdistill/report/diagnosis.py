"""Finished runs of self-distillation with the features of their plans: the table that predictions are learned from.

The frame has a class of its own, so that it counts for the figures and tables that show it and not for the numbers of a study.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from selfdistill.records.files import read_frame, read_table, write_text
from selfdistill.records.schemas import diagnosis_schema
from selfdistill.records.task import Facts, Task, job
from selfdistill.report.samples import joined
from selfdistill.report.study_data import FigureError, StudyData, rows_of_runs
from selfdistill.statistics.prediction import CHANGE, GROUPS, Judged, judge
from selfdistill.study.diagnosis import DiagnosedParams
from selfdistill.vocabulary.diagnosis import FEATURES
from selfdistill.vocabulary.runs import RUN_FIELDS, Run, base_run

TOO_FEW = "too few groups"
"""What stands in place of errors on left-out groups (`prediction.FEWEST_GROUPS`)."""


@dataclass(frozen=True)
class DiagnosedData(StudyData):
    """A study whose runs of self-distillation are diagnosed.

    Attributes:
        diagnosis: one row per run and draw: RUN_FIELDS, `prediction.GROUPS`, FEATURES, `prediction.CHANGE`.
    """

    diagnosis: pd.DataFrame = field(default_factory=pd.DataFrame)

    def of_runs(self, runs: Iterable[Mapping[str, str]]) -> DiagnosedData:
        """Return the study with these runs to show, and with their rows."""
        shown = super().of_runs(runs)
        return replace(shown, diagnosis=rows_of_runs(self.diagnosis, shown.runs))


def finished_runs(
    features: Sequence[Mapping[str, float]], draws: pd.DataFrame, asked: DiagnosedParams
) -> pd.DataFrame:
    """Return the columns of `DiagnosedData.diagnosis`.

    features: of every plan; draws: numbers.draw_means of the runs and their bases; asked: the runs. Raise KeyError if a run or its base has
    no OOD accuracy.
    """
    outside = draws[draws["benchmark"].isin(asked.ood)]
    means = outside.groupby(list(RUN_FIELDS), observed=True)["accuracy"].mean()
    accuracy = {Run.from_fields(dict(zip(RUN_FIELDS, key, strict=True))): mean for key, mean in means.items()}
    rows = []
    for one in asked.runs:
        run, own = Run.from_fields(one.run), features[one.plan]
        change = accuracy[run] - accuracy[base_run(run.model, run.replicate, run.seed)]
        groups = one.model_dump(include={"family", "base"})
        rows.append({**run.fields(), **groups, **{name: own[name] for name in FEATURES}, CHANGE: change})
    return pd.DataFrame(rows)


@job()
def join_diagnosis(task: Task) -> Facts:
    """Write the finished runs of a study."""
    asked = DiagnosedParams.model_validate(task.params["job"])
    features = [read_table(path, diagnosis_schema()).iloc[0] for path in task.input.features]
    runs = finished_runs(features, joined(map(read_frame, task.input.draws)), asked)
    write_text(task.output.runs, runs.to_csv(index=False, lineterminator="\n"))
    return {"runs": len(runs)}


def measured(data: DiagnosedData) -> pd.DataFrame:
    """Return the finished runs whose features are all known, perhaps none; raise FigureError if there are no finished runs."""
    if data.diagnosis.empty:
        raise FigureError("no finished run of self-distillation")
    return data.diagnosis.dropna(subset=[*FEATURES, CHANGE])


def judgements(rows: pd.DataFrame) -> dict[str, Judged | None]:
    """Return kind of group -> the errors on left-out groups; None where there are too few."""
    return {kind: judge(rows, kind) for kind in GROUPS}


def groups_text(data: DiagnosedData) -> str:
    """Return how many runs and groups the errors are of."""
    rows = measured(data)
    unknown = len(data.diagnosis) - len(rows)
    groups = ", ".join(f"{rows[kind].nunique()} of `{kind}`" for kind in GROUPS)
    left = (
        f"; {unknown} others lack a feature, such as where no response under the context is correct"
        if unknown
        else ""
    )
    return f"{len(rows)} runs, each replicate and seed one run, in groups: {groups}{left}."
