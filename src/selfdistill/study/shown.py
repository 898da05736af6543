"""What of a study a figure, a table and the report show: its runs, and the names that they appear under.

The experiments that the study file lists for a figure decide which runs it draws. The rules hand these runs to the drawing as params and derive
the inputs from them, so a run that a figure does not show redraws nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from selfdistill.study.display import Display
from selfdistill.study.displays import FIGURES, TABLES, display_of
from selfdistill.study.jobs import JobParams
from selfdistill.study.methods import ON_POLICY
from selfdistill.study.yaml import reject
from selfdistill.vocabulary import contexts, teachers
from selfdistill.vocabulary.interventions import FORCE
from selfdistill.vocabulary.runs import BASE, DEFAULT, FULL, Run, base_run

if TYPE_CHECKING:
    from selfdistill.study.study import Study


class DisplayJob(JobParams):
    """What a figure or table shows. draw, options: its function; runs: run keys; names: see `display_names`."""

    name: str
    title: str
    draw: str
    options: dict[str, Any]
    runs: list[dict[str, str]]
    names: dict[str, Any]


class ReportJob(JobParams):
    """What the report shows beside its inputs.

    command: which repeats it; titles: of every figure; runs: those that it sums up; examples: those whose responses it shows, on
    `benchmark`.
    """

    study: str
    command: str
    title: str
    names: dict[str, Any]
    titles: dict[str, str]
    runs: list[dict[str, str]]
    examples: list[dict[str, str]]
    benchmark: str


def key_of(name: str) -> str:
    """Return the key of a figure or table in the study file."""
    return f"{'tables' if name in TABLES else 'figures'}.{name}"


def experiments_shown(study: Study, name: str) -> tuple[str, ...]:
    """Return the experiments of a figure or table; raise StudyError if the study does not declare it."""
    declared = {**study.file.figures, **study.file.tables}
    if name not in declared:
        reject(study.path, key_of(name), "is not declared", declared)
    return tuple(declared[name])


def runs_shown(study: Study, name: str) -> tuple[Run, ...]:
    """Return the runs that a figure or table shows, bases only where it shows every run.

    Raises StudyError, with file and key, if its list does not fit: nothing to draw, or an experiment that it cannot show.
    """
    display, experiments = display_of(name), experiments_shown(study, name)
    if display.shows in ("section 3", "problem sets"):
        check_without_experiments(study, name, display, experiments)
        return ()
    if not experiments and display.shows == "every run":
        return study.base_runs() + study.runs()
    if not experiments:
        problem = "must name at least one experiment"
        reject(
            study.path, key_of(name), problem, dict.fromkeys(entry.experiment for entry in study.file.runs)
        )
    try:
        runs = display.choose(study.runs(*experiments), study.roles())
    except LookupError as error:
        reject(study.path, key_of(name), f"[{', '.join(experiments)}] {error}")
    for experiment in experiments:
        if not any(experiment in study.experiments_of(run) for run in runs):
            reject(study.path, key_of(name), f"{name} can show no run of {experiment!r}")
    return runs


def check_without_experiments(
    study: Study, name: str, display: Display, experiments: tuple[str, ...]
) -> None:
    """Raise StudyError if a display that shows no experiment lists some, or if what it shows is not there."""
    if experiments:
        reject(study.path, key_of(name), f"shows {display.shows} and no experiment: must be []")
    if display.shows == "section 3" and study.file.section_3 is None:
        reject(study.path, key_of(name), "needs `section_3`, which is not declared")


def richness_draws(study: Study) -> list[tuple[str, int]]:
    """Return the models and replicates whose contexts are measured: all of section 3, if a declared figure or table shows it."""
    declared = (display_of(name) for name in (*study.file.figures, *study.file.tables))
    return study.section_3_draws() if any("richness" in display.frames for display in declared) else []


def intervened_runs(study: Study) -> tuple[Run, ...]:
    """Return the runs of the table `interventions` and their bases; none if the study does not declare it."""
    if "interventions" not in study.file.tables:
        return ()
    return with_bases(runs_shown(study, "interventions"))


def with_bases(runs: Iterable[Run]) -> tuple[Run, ...]:
    """Return the bases of some runs, in the same draws, and the runs."""
    runs = tuple(runs)
    return (*dict.fromkeys(base_run(run.model, run.replicate, run.seed) for run in runs), *runs)


def interventions_of(study: Study, run: Run) -> list[str]:
    """Return the interventions under which such a run is evaluated: for a base not `force`, which changes nothing there."""
    return [name for name in study.file.benchmarks.interventions if (run.method, name) != (BASE, FORCE)]


def intervened(study: Study) -> list[tuple[Run, str]]:
    """Return every run that is evaluated under interventions with each of these."""
    return [(run, name) for run in intervened_runs(study) for name in interventions_of(study, run)]


def curves_of(study: Study, name: str) -> list[str]:
    """Return the benchmarks that a figure draws by step."""
    labels = study.benchmark_labels()
    inside, outside = ([key for key, label in labels.items() if label["ood"] is ood] for ood in (False, True))
    return {"": [], "headline": study.headline(), "ood": outside or inside, "all": list(labels)}[
        display_of(name).curves
    ]


def run_keys(runs: Iterable[Run]) -> list[dict[str, str]]:
    """Return the distinct runs without their seeds: how a rule's params and the frames name them."""
    return list({tuple(run.key().values()): run.key() for run in runs}.values())


def main_runs(study: Study) -> tuple[Run, ...]:
    """Return the runs that the report sums up: GRPO, and SDPO with a fixed teacher that sees the problem's own solution, on the whole broad
    domain with the study's own settings.
    """
    plain = {"dataset": study.file.domains.broad, "coverage": FULL, "variant": DEFAULT}
    return tuple(
        run
        for run in study.runs(methods=ON_POLICY)
        if plain.items() <= run.fields().items()
        and run.teacher in (teachers.NONE, teachers.FIXED)
        and run.context in (contexts.NONE, *contexts.PAPER_CONTEXTS)
    )


def example_runs(study: Study) -> tuple[Run, ...]:
    """Return the runs whose responses the report shows: the first model before and after training."""
    model = study.models()[0]
    return (*study.base_runs(model), *(run for run in main_runs(study) if run.model == model))


def models_shown(study: Study, name: str) -> list[str]:
    """Return the models of a figure or table, in the study's order."""
    shows = display_of(name).shows
    found = {run.model for run in runs_shown(study, name)}
    found |= set(study.section_3_models()) if shows == "section 3" else set()
    return [model for model in study.models() if model in found]


def display_names(study: Study, name: str = "") -> dict[str, Any]:
    """Return names and roles for a figure or table (of its models only), or for the report; no result depends on them."""
    models = models_shown(study, name) if name else list(study.models())
    return {
        "labels": {model: study.model(model).label or model for model in models},
        "roles": {role: model for role, model in study.roles().items() if model in models},
        "benchmarks": study.benchmark_labels(),
        "headline": study.headline(),
        "broad": study.file.domains.broad,
        "narrow": study.file.domains.narrow or "",
        "organism": all(study.base(name).organism for name in study.bases()),
        "plumbing": study.file.plumbing,
    }


def display_job(study: Study, name: str) -> DisplayJob:
    """Return the job of a figure or table."""
    display = display_of(name)
    return DisplayJob(
        name=name,
        title=display.title,
        draw=display.draw,
        options=dict(display.options),
        runs=run_keys(runs_shown(study, name)),
        names=display_names(study, name),
    )


def chosen(study: Study) -> dict[str, str]:
    """Return the keys of --config that say what is done of a study: its draws, and its experiments and models if some are left out."""
    file, whole = study.file, study.whole or study.file
    given = {key: list(map(str, getattr(file, key))) for key in ("replicates", "seeds")}
    experiments, usual = ({entry.experiment for entry in one.runs} for one in (file, whole))
    if experiments != usual - {*file.on_request}:
        given["experiments"] = sorted(experiments)
    if len(study.models()) < len(replace(study, file=whole).models()):
        given["models"] = list(study.models())
    return {"study": study.name} | {key: ",".join(own) for key, own in given.items()}


def command_of(study: Study) -> str:
    """Return the command that does what is done of a study."""
    return " ".join(["snakemake --config", *(f"{key}={value}" for key, value in chosen(study).items())])


def status_command(study: Study) -> str:
    """Return the command that shows the progress of what is done of a study."""
    return " ".join(["make status", *(f"{key.upper()}={value}" for key, value in chosen(study).items())])


def report_job(study: Study) -> ReportJob:
    """Return the job of the report."""
    return ReportJob(
        study=study.name,
        command=command_of(study),
        title=study.file.title,
        names=display_names(study),
        titles={name: figure.title for name, figure in FIGURES.items()},
        runs=run_keys(main_runs(study)),
        examples=run_keys(example_runs(study)),
        benchmark=study.shift_benchmark(),
    )
