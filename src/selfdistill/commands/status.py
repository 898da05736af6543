"""The progress of a study: which jobs are done, the step of each running job, and the estimated time left.

`python -m selfdistill.commands.status [--study mini] [--replicates 0,1,2] [--seeds 0,1] [--watch] [--cores 2]`, or `make status`. All is read
from the results: a job is done if its manifest exists, and running if a process holds its lock; progress.json holds its step.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from selfdistill.commands.options import add_study, refusing, study_of
from selfdistill.jobs.locks import is_locked, lock_of
from selfdistill.records.files import read_json
from selfdistill.records.outcomes import outcome_warnings
from selfdistill.records.paths import Paths, resume_of
from selfdistill.records.progress import read_progress
from selfdistill.study.diagnosis import measured_runs
from selfdistill.study.jobs import sample_files
from selfdistill.study.methods import ON_POLICY
from selfdistill.study.shown import intervened, richness_draws
from selfdistill.study.study import Study
from selfdistill.vocabulary.runs import BASE


@dataclass(frozen=True)
class Entry:
    """One job of the study; jobs of the same kind take about the same time."""

    kind: str
    name: str
    manifest: str
    resume: str


@dataclass(frozen=True)
class State:
    """A job is done, running, stopped or waiting. seconds: wall-clock time if done; step, steps, left: progress if begun."""

    entry: Entry
    state: str
    seconds: float = 0.0
    step: int = 0
    steps: int = 0
    left: float | None = None


def expected_jobs(study: Study) -> Iterator[Entry]:
    """Yield every job of a study that takes time (problem sets, figures and tables do not)."""
    paths = Paths(study.name)
    for base, replicate in study.base_draws():
        yield _entry(paths, "base", f"{base}/{replicate}", paths.base(base, replicate))
    for model, replicate in study.section_3_draws():
        yield _entry(paths, "section 3", f"{model}/{replicate}", paths.section_3(model, replicate))
    for model, replicate in richness_draws(study):
        yield _entry(paths, "richness", f"{model}/{replicate}", paths.richness(model, replicate))
    for run in measured_runs(study):
        yield _entry(paths, "diagnosis", str(run), paths.diagnosis(run))
    for run in study.runs():
        kind = f"{run.method} {run.variant}"
        yield Entry(kind, str(run), paths.run_manifest(run), resume_of(paths.checkpoints(run)))
    for run in study.base_runs() + study.runs():
        kind = "evaluate base" if run.method == BASE else "evaluate"
        for step in study.steps_of(run):
            yield _entry(paths, kind, f"{run}, step {step}", paths.samples(run, step))
    for run, name in intervened(study):
        yield _entry(paths, f"evaluate {name}", str(run), paths.intervention(run, name))
    for model in study.models():
        yield _entry(paths, "estimate", model, paths.numbers("estimates", model))
    yield _entry(paths, "report", study.name, paths.report)


def files_with_grades(study: Study) -> list[str]:
    """Return the files that hold grades: samples of all runs, under interventions too, rollouts of those that have them, section 3."""
    paths = Paths(study.name)
    return [
        *sample_files(study, paths, study.base_runs() + study.runs()),
        *(paths.intervention(*pair) for pair in intervened(study)),
        *(paths.rollouts(run) for run in study.runs(methods=ON_POLICY)),
        *(paths.section_3(*draw) for draw in study.section_3_draws()),
    ]


def _entry(paths: Paths, kind: str, name: str, output: str) -> Entry:
    """Return the job with this first output."""
    return Entry(kind, name, paths.manifest(output), resume_of(output))


def state_of(entry: Entry) -> State:
    """Return the state of one job, from its files."""
    manifest = Path(entry.manifest)
    running = is_locked(lock_of(entry.resume))
    if manifest.exists() and not running:
        return State(entry, "done", read_json(manifest)["wall_seconds"])
    known = read_progress(Path(entry.resume))
    state = "running" if running else "stopped" if known else "waiting"
    return State(entry, state, step=known.get("step", 0), steps=known.get("steps", 0), left=known.get("eta"))


def seconds_left(states: list[State]) -> float | None:
    """Return an estimate of the seconds that the remaining jobs take one after the other, from the median job of each kind.

    None while a kind of remaining jobs has neither a finished nor a running job to estimate from.
    """
    known: dict[str, list[float]] = defaultdict(list)
    for state in states:
        if state.state == "done":
            known[state.entry.kind].append(state.seconds)
        elif state.left is not None and state.step:
            # the whole time of a running job, extrapolated from the share of its steps that is left
            known[state.entry.kind].append(state.left / max(1 - state.step / state.steps, 1e-6))
    quick = {"estimate", "report"}
    total = 0.0
    for state in states:
        if state.state == "done":
            continue
        if state.left is not None:
            total += state.left
        elif state.entry.kind in known:
            total += median(known[state.entry.kind])
        elif state.entry.kind not in quick:
            return None
    return total


def duration(seconds: float | None) -> str:
    """Return seconds as minutes and seconds, `?` if unknown.

    >>> duration(125)
    '2 min 05 s'
    """
    return "?" if seconds is None else f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def render(study: Study, cores: int) -> str:
    """Return the table: unfinished jobs that have begun, jobs per kind, and the estimate."""
    states = [state_of(entry) for entry in expected_jobs(study)]
    lines = [f"study {study.name}: {sum(s.state == 'done' for s in states)} of {len(states)} jobs done"]
    for state in states:
        if state.state in ("running", "stopped"):
            at = f"step {state.step} of {state.steps}" if state.steps else "starting"
            left = f", about {duration(state.left)} left" if state.left is not None else ""
            lines.append(f"  {state.state:8} {state.entry.kind:16} {state.entry.name}: {at}{left}")
    kinds: dict[str, list[State]] = defaultdict(list)
    for state in states:
        kinds[state.entry.kind].append(state)
    for kind, members in kinds.items():
        done = [state.seconds for state in members if state.state == "done"]
        each = f", {duration(median(done))} each" if done else ""
        lines.append(f"  {kind:25} {len(done):3} of {len(members):3} done{each}")
    left = seconds_left(states)
    lines.append(
        f"  estimated time left with {cores} jobs at a time: "
        + ("?" if left is None else f"{duration(left / cores)} ({left / 3600:.1f} job-hours)")
    )
    lines += [f"  warning: {line}" for line in outcome_warnings(files_with_grades(study))]
    return "\n".join(lines)


@refusing
def main(arguments: list[str] | None = None) -> None:
    """Print the table once, or with --watch every few seconds until the report exists."""
    parser = argparse.ArgumentParser(prog="python -m selfdistill.commands.status", description=__doc__)
    add_study(parser)
    parser.add_argument("--cores", type=int, default=2, help="number of jobs at a time, for the estimate")
    parser.add_argument("--watch", action="store_true", help="refresh every 3 seconds")
    options = parser.parse_args(arguments)
    study = study_of(options)
    manifest = Path(Paths(study.name).manifest(Paths(study.name).report))
    while options.watch and not manifest.exists():
        print("\033[2J\033[H" + render(study, options.cores), flush=True)
        time.sleep(3)
    print(render(study, options.cores))


if __name__ == "__main__":
    main()
