"""What the diagnosis of a study measures: the plan of every run with a self-teacher, on its base, before any training.

A plan is what a run's base is asked under: model, context, training set, coverage, and the settings of rollouts and loss. Runs that
differ only in method, teacher, learning rate or seed have the same plan, which is measured once, for the first of them.
"""

from dataclasses import replace
from typing import Any

from selfdistill.study.displays import display_of
from selfdistill.study.fields import GraderName
from selfdistill.study.jobs import JobParams, ModelJob
from selfdistill.study.methods.sdpo import SAME
from selfdistill.study.shown import runs_shown
from selfdistill.study.study import Study
from selfdistill.vocabulary.runs import BASE, DEFAULT, Run
from selfdistill.vocabulary.teachers import NONE

FRAME = "diagnosis"
"""Frame of the figures and tables that show finished runs with the features of their plans."""


class DiagnosisParams(ModelJob):
    """A plan. run: the base, with context, data set and coverage of the plan; others: settings of its runs (`SdpoSettings`)."""

    study: str
    teacher_thinking: str
    grader: GraderName
    temperature: float
    max_new_tokens: int
    rollouts: int
    alpha: float
    top_k: int | None
    tail: bool
    success_threshold: float
    max_reprompt_tokens: int | None


class DiagnosedRun(JobParams):
    """A finished run. run: its fields; family, base: groups that it belongs to; plan: number of its plan among those measured."""

    run: dict[str, Any]
    family: str
    base: str
    plan: int


class DiagnosedParams(JobParams):
    """The finished runs; ood: benchmarks whose mean accuracy is the OOD accuracy."""

    ood: list[str]
    runs: list[DiagnosedRun]


def diagnosis_params(study: Study, run: Run) -> DiagnosisParams:
    """Return the plan of a run of a method with a teacher."""
    form = study.prompt_form(run.model)
    asked = study.settings_for(run).model_dump(include=set(DiagnosisParams.model_fields))
    if asked["teacher_thinking"] == SAME:
        asked["teacher_thinking"] = form["thinking"]
    planned = replace(run, method=BASE, teacher=NONE, variant=DEFAULT, seed=0)
    return DiagnosisParams(study=study.name, run=planned, **form, **asked)


def diagnosed_runs(study: Study) -> tuple[Run, ...]:
    """Return the runs whose plans are measured: those that a declared figure or table shows; none if none is declared."""
    names = [name for name in (*study.file.figures, *study.file.tables) if FRAME in display_of(name).frames]
    return tuple(dict.fromkeys(run for name in names for run in runs_shown(study, name)))


def plans_of(study: Study) -> dict[DiagnosisParams, Run]:
    """Return every plan with the first run that has it."""
    found: dict[DiagnosisParams, Run] = {}
    for run in diagnosed_runs(study):
        found.setdefault(diagnosis_params(study, run), run)
    return found


def measured_runs(study: Study) -> tuple[Run, ...]:
    """Return the runs that measurements are named after, one per plan."""
    return tuple(plans_of(study).values())


def diagnosed_params(study: Study) -> DiagnosedParams:
    """Return what the table of finished runs depends on beside its files. OOD: the headline benchmarks that are, if any, else all."""
    outside = study.ood()
    plans = {plan: number for number, plan in enumerate(plans_of(study))}
    return DiagnosedParams(
        ood=[name for name in study.headline() if name in outside] or outside,
        runs=[
            DiagnosedRun(
                run=run.fields(),
                family=study.family(run.model).name,
                base=base_draw(study, run),
                plan=plans[diagnosis_params(study, run)],
            )
            for run in diagnosed_runs(study)
        ],
    )


def base_draw(study: Study, run: Run) -> str:
    """Return the draw of a base that a run began from: a polished one is a draw of the base that it was trained from."""
    base = study.model(run.model).base
    return f"{study.root_key(base)}/replicate-{study.base_replicate(base, run.replicate)}"
