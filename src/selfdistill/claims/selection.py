"""Which runs of a study test which part of a claim, derived from its grid before anything runs.

If the grid lacks the runs of a part, the part stays in the plan with the reason, so that the ledger can report what
is missing. Imports neither torch nor pandas.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from selfdistill.claims.ledger import NOT_EVALUATED, ROLLOUTS, ArmSpec, ClaimSpec, Ledger, PartSpec
from selfdistill.records.paths import Paths
from selfdistill.study.methods import METHODS
from selfdistill.study.shown import intervened
from selfdistill.study.study import Study
from selfdistill.vocabulary.interventions import NONE
from selfdistill.vocabulary.runs import BASE, LAST, SECTION_3, Run, Step, base_key

PLUMBING_REASON = "the study only tests the pipeline"


class Missing(LookupError):
    """There is no such run, model, benchmark or sample; the message says which."""


@dataclass(frozen=True)
class PlannedArm:
    """A run (without its seed) on some benchmarks, at a share of its steps or under an intervention, and its weight in the effect.

    over, group, metric: as in statistics.Arm; one group per model.
    """

    run: dict[str, str]
    benchmarks: tuple[str, ...]
    step: float
    weight: float
    over: float = 0.0
    group: int = 0
    metric: str = ""
    intervention: str = NONE


@dataclass(frozen=True)
class PlannedPart:
    """One effect of a claim in one metric, in one model or their mean; missing: why it cannot be tested (empty: it can).

    base: the base of its runs, empty if there are several; drawn: the study draws what it measures, so that from one draw there is an
    effect and no verdict.
    """

    claim: str
    name: str
    model: str
    metric: str
    benchmark: str
    arms: tuple[PlannedArm, ...] = ()
    relative: bool = False
    above: float | None = None
    below: float | None = None
    margin: float = 0.0
    clause: str = ""
    base: str = ""
    drawn: bool = False
    counts: bool = True
    missing: str = ""


def plan_claims(ledger: Ledger, study: Study) -> list[PlannedPart]:
    """Return every part of every claim in the models, metrics and benchmarks of a study, in the order of the file.

    A plumbing study tests none of them, whatever its grid contains.
    """
    return [
        replace(planned, arms=(), missing=PLUMBING_REASON) if study.file.plumbing else planned
        for name, claim in ledger.claims.items()
        for part in claim.parts
        for planned in plan_part(name, claim, part, study)
    ]


def plan_part(name: str, claim: ClaimSpec, part: PartSpec, study: Study) -> Iterator[PlannedPart]:
    """Yield one planned part per model or mean of models, metric and (for `each`) benchmark."""
    benchmarks = study.file.benchmarks.names if part.benchmark == "each" else [part.benchmark]
    spec = {key: getattr(part, key) for key in ("name", "clause", "relative", "above", "below", "margin")}
    for models, counts in claim.models_of(part):
        for benchmark in benchmarks:
            own = available(part, models, benchmark, study)
            shown = f"mean of {', '.join(own)}" if len(own) > 1 else "".join(own)
            for metric in part.metrics:
                planned = PlannedPart(
                    claim=name, model=shown, metric=metric, benchmark=benchmark, counts=counts, **spec
                )
                try:
                    yield with_arms(planned, planned_arms(part, own, benchmark, study), study)
                except Missing as reason:
                    yield replace(planned, missing=str(reason))


def available(part: PartSpec, models: Sequence[str], benchmark: str, study: Study) -> Sequence[str]:
    """Return those of several models in which the study can test a part; all of them if it can in none."""

    def found(model: str) -> bool:
        try:
            return bool(planned_arms(part, [model], benchmark, study))
        except Missing:
            return False

    return [model for model in models if found(model)] or models


def with_arms(planned: PlannedPart, arms: tuple[PlannedArm, ...], study: Study) -> PlannedPart:
    """Return a part with its arms and what follows from them: its base, and whether the study draws what it measures."""
    bases = {study.root_key(study.model(arm.run["model"]).base) for arm in arms}
    trained = any(arm.run["method"] != BASE for arm in arms)
    # weights that exist are given; those that the study makes itself are one draw of a recipe
    drawn = trained or any(study.base(base).drawn for base in bases)
    base = bases.pop() if len(bases) == 1 else ""
    return replace(planned, arms=arms, base=base, drawn=drawn)


def draws_of(study: Study) -> tuple[int, int]:
    """Return the number of replicates of a study, and of seeds in each."""
    return len(study.file.replicates), len(study.file.seeds)


def planned_arms(
    part: PartSpec, models: Sequence[str], benchmark: str, study: Study
) -> tuple[PlannedArm, ...]:
    """Return the arms of a part in some models, one group each, on one benchmark; raise Missing if the study lacks one."""
    return tuple(
        replace(
            planned_arm(arm, weight, model, benchmark, study), over=over, group=group, metric=arm.metric or ""
        )
        for group, model in enumerate(models or (None,))
        for arm, weight, over in part.weighted()
    )


def planned_arm(arm: ArmSpec, weight: float, model: str | None, benchmark: str, study: Study) -> PlannedArm:
    """Return one arm; raise Missing if the study lacks its run."""
    own = arm.benchmark or benchmark
    role = arm.model or model
    if role not in study.roles():
        raise Missing(f"the study has no model for the role {role}")
    fields = run_fields(arm, study.roles()[role], own, study)
    benchmarks = benchmarks_of(own, study)
    if arm.intervention != NONE:
        check_intervened(fields, arm.intervention, study)
    if own not in NOT_EVALUATED:
        check_evaluated(fields, benchmarks, arm.step, study)
    return PlannedArm(fields, tuple(benchmarks), arm.step, weight, intervention=arm.intervention)


def check_evaluated(fields: dict[str, str], benchmarks: list[str], share: float, study: Study) -> None:
    """Raise Missing if the study does not evaluate a run on some benchmarks at a share of its steps."""
    for run in runs_with(fields, study):
        step = step_at(study.steps_of(run), share)
        evaluated = study.benchmarks_at(run, step)
        for name in benchmarks:
            if name not in evaluated:
                key = f"benchmarks.every_checkpoint.{name}"
                raise Missing(f"{run} is not evaluated on {name} at step {step} ({study.path}: {key})")


def check_intervened(fields: Mapping[str, str], intervention: str, study: Study) -> None:
    """Raise Missing if the study does not evaluate a run under an intervention."""
    under = [name for run, name in intervened(study) if run.key() == fields]
    if intervention not in under:
        key = "benchmarks.interventions" if under else "tables.interventions"
        raise Missing(
            f"{'/'.join(fields.values())} is not evaluated under {intervention} ({study.path}: {key})"
        )


def runs_with(fields: Mapping[str, str], study: Study) -> list[Run]:
    """Return the runs of all seeds with these run fields, in the grid's order."""
    return [run for run in study.base_runs() + study.runs() if run.key() == fields]


def step_at(steps: Iterable[Step], share: float) -> Step:
    """Return the evaluated step nearest to a share of the last one (of two, the later); step 0 only for a base."""
    known = list(steps)
    if known == [LAST]:
        return LAST
    later = sorted(step for step in known if step > 0) or known
    return min(later, key=lambda step: (abs(step - share * max(known)), -step))


def benchmarks_of(name: str, study: Study) -> list[str]:
    """Return the study's benchmarks behind a name of the claims file; raise Missing if there are none."""
    entries = {key: study.benchmark_catalogue.benchmarks[key] for key in study.all_benchmarks()}
    if name in NOT_EVALUATED or name in entries:
        return [name]
    if name in ("in-domain", "ood"):
        found = [key for key in study.file.benchmarks.names if entries[key].ood == (name == "ood")]
    else:
        found = [study.file.benchmarks.roles[name]] if name in study.file.benchmarks.roles else []
    if not found:
        raise Missing(f"the study has no benchmark for {name}")
    return sorted(found)


def run_fields(arm: ArmSpec, model: str, benchmark: str, study: Study) -> dict[str, str]:
    """Return the run fields (without draw) of an arm's run; raise Missing if the grid has none or several."""
    if benchmark == SECTION_3:
        if model not in study.section_3_models():
            raise Missing(f"section 3 of the study does not include {model}")
        return base_key(model) | {
            "context": arm.context or "none",
            "dataset": study.section_3_dataset(),
        }
    if arm.method == BASE:
        return base_key(model)
    wanted = wanted_fields(arm, model, study)
    runs = {str(run.key()): run.key() for run in study.runs(arm.experiment or "")}
    found = [
        run for run in runs.values() if all(fnmatchcase(run[key], value) for key, value in wanted.items())
    ]
    if len(found) != 1:
        text = " ".join(value for key, value in wanted.items() if key != "method")
        raise Missing(
            f"the grid has {len(found) or 'no'} such {'runs' if found else 'run'} of {arm.experiment}: {arm.method} {text}"
        )
    return found[0]


def wanted_fields(arm: ArmSpec, model: str, study: Study) -> dict[str, str]:
    """Return run field -> the pattern that it must match."""
    domains = study.file.domains
    dataset = domains.broad if arm.dataset == "broad" else domains.narrow or "-"
    given = {"context": arm.context, "teacher": arm.teacher, "variant": arm.variant}
    plain = {"model": model, "method": arm.method, "dataset": dataset, "coverage": arm.coverage}
    return (
        METHODS[arm.method].defaults()
        | plain
        | {key: value for key, value in given.items() if value is not None}
    )


def needed_files(parts: Iterable[PlannedPart], study: Study, paths: Paths) -> dict[str, list[str]]:
    """Return the paths that the judge reads, in the grid's order, by kind: samples, interventions, section_3, rollouts."""
    arms = [arm for part in parts for arm in part.arms]
    training = [arm.run for arm in arms if arm.benchmarks[0] in ROLLOUTS]
    section_3 = {arm.run["model"] for arm in arms if arm.benchmarks == (SECTION_3,)}
    plain = [arm for arm in arms if arm.benchmarks[0] not in NOT_EVALUATED and arm.intervention == NONE]
    runs = study.base_runs() + study.runs()
    return {
        "samples": [path for run in runs for path in evaluated_files(run, plain, study, paths)],
        "interventions": [
            paths.intervention(run, name)
            for run, name in intervened(study)
            if any((arm.run, arm.intervention) == (run.key(), name) for arm in arms)
        ],
        "section_3": [
            paths.section_3(model, replicate)
            for model, replicate in study.section_3_draws()
            if model in section_3
        ],
        "rollouts": [paths.rollouts(run) for run in runs if run.key() in training],
    }


def evaluated_files(run: Run, arms: Iterable[PlannedArm], study: Study, paths: Paths) -> list[str]:
    """Return the files of a run's samples that some arms are judged from: the step of each, and the last, from which shares count."""
    shares = [arm.step for arm in arms if arm.run == run.key()]
    steps = study.steps_of(run)
    needed = {step_at(steps, share) for share in (*shares, 1.0)} if shares else ()
    return [paths.samples(run, step) for step in steps if step in needed]


def as_params(parts: Iterable[PlannedPart]) -> list[dict[str, Any]]:
    """Return the plan as plain values, for the params of a rule."""
    return [asdict(part) for part in parts]


def from_params(values: Iterable[dict[str, Any]]) -> list[PlannedPart]:
    """Return the plan that `as_params` wrote."""

    def arm(value: dict[str, Any]) -> PlannedArm:
        """Return an arm, with its benchmarks as a tuple again."""
        return PlannedArm(**value | {"benchmarks": tuple(value["benchmarks"])})

    return [PlannedPart(**value | {"arms": tuple(arm(one) for one in value["arms"])}) for value in values]
