"""What a study takes on disk: results that stay, and what is there for a while.

A training holds its checkpoints to resume from and, in a study that does not keep them, its exported models, which are held until their
evaluations are done. The rules ask for this as the resource `disk_gb`, and Snakemake starts no job that the study's `disk_gb` leaves no
room for; `plan` prints both.
"""

import math
from collections.abc import Mapping

from selfdistill.commands.costs import Assumptions, Cost, CostModel
from selfdistill.commands.ranges import ZERO, number, span
from selfdistill.study.study import Study
from selfdistill.study.yaml import reject
from selfdistill.vocabulary.runs import BASE, Run

GB = 1e9


def training_gb(study: Study, run: Run) -> int:
    """Return the GB that the training of a run holds while it runs, beside results that stay."""
    return held_gb(CostModel(study, Assumptions()).training(run))


def evaluation_gb(study: Study, run: Run) -> int:
    """Return the GB that are held until a checkpoint of a run is evaluated: its model, if the study does not keep it."""
    if run.method == BASE:
        return 0
    return math.ceil(CostModel(study, Assumptions()).training(run).passing / GB / len(study.steps_of(run)))


def held_gb(cost: Cost) -> int:
    """Return the GB that a job holds for a while."""
    return math.ceil((cost.passing + cost.resume) / GB)


def kept_gb(costs: Mapping[str, Cost]) -> float:
    """Return the GB of results that stay."""
    return sum(cost.disk - cost.passing for cost in costs.values()) / GB


def room_gb(study: Study, costs: Mapping[str, Cost]) -> int | None:
    """Return the GB that `disk_gb` leaves beside results that stay, None without a bound; raise StudyError if a training needs more."""
    if study.file.disk_gb is None:
        return None
    kept = math.ceil(kept_gb(costs))
    room, most = study.file.disk_gb - kept, max(map(held_gb, costs.values()))
    if room < most:
        problem = f"{study.file.disk_gb} is too little: results take {kept}, and the largest training {most} beside them"
        reject(study.path, "disk_gb", f"{problem}: must be at least {kept + most}")
    return room


def disk_section(study: Study, costs: Mapping[str, Cost], done: set[str]) -> list[str]:
    """Return the lines on disk space: in total, remaining, and per rule; what runs and unevaluated models need for a while."""
    rules = dict.fromkeys(cost.rule for cost in costs.values())
    by_rule = {rule: sum(cost.disk for cost in costs.values() if cost.rule == rule) / GB for rule in rules}
    left = sum(cost.disk for manifest, cost in costs.items() if manifest not in done) / GB
    parts = ", ".join(f"{rule} {number(size)}" for rule, size in by_rule.items())
    lines = [f"disk (GB): {number(sum(by_rule.values()))} in total, {number(left)} still to write: {parts}"]
    running = [cost for manifest, cost in costs.items() if cost.resume and manifest not in done]
    if running:
        resume = [cost.resume / GB for cost in running]
        lines.append(
            f"  resume folders beside it, while trainings run: up to {number(max(resume))} each, {number(sum(resume))} if all "
            f"{len(resume)} run at once"
        )
    if passing := sum(cost.passing for cost in costs.values()) / GB:
        lines.append(
            f"  of it {number(passing)} are models that are deleted after their evaluation (keep_checkpoints: false)"
        )
    return lines + bound_lines(study, costs, running)


def bound_lines(study: Study, costs: Mapping[str, Cost], running: list[Cost]) -> list[str]:
    """Return the line on the study's `disk_gb`: the peak, how many trainings run at once, and how long they last at least."""
    room = room_gb(study, costs)
    if room is None or not running:
        return []
    sizes = sorted(map(held_gb, running))
    hours = sum((cost.hours.times(held_gb(cost) / room) for cost in running), ZERO)
    return [
        f"  at most {study.file.disk_gb} at any time (disk_gb): {number(study.file.disk_gb - room)} of results that stay, {room} for "
        f"trainings and models that wait for their evaluation; a training holds {sizes[0]} to {sizes[-1]}, so {room // sizes[-1]} of the "
        f"largest run at once, and all {len(sizes)} take at least {span(hours)} h"
    ]
