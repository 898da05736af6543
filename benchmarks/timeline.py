"""Draws where the core time of a study went: `python benchmarks/timeline.py results/mini timeline.png`.

Reads the `times` of every manifest below the folder: when a job's process began, when its main function began, when it ended (Unix time in
seconds). One row per lane, jobs in the colour of their rule, start-up in black; prints the shares of compute, start-up and idle lanes.
Jobs separated by more than PAUSE seconds without any job belong to different sessions; the pause counts nowhere.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

PAUSE = 60.0


class Job(NamedTuple):
    """One job; times in seconds."""

    began: float
    main: float
    ended: float
    rule: str


def read_jobs(folder: Path) -> list[Job]:
    """Return the jobs below a folder whose manifests hold times, in the order in which they began."""
    manifests = (json.loads(path.read_text(encoding="utf-8")) for path in folder.rglob("*manifest.json"))
    timed = ((manifest["times"], manifest["rule"]) for manifest in manifests if "times" in manifest)
    return sorted(Job(t["process_began"], t["main_began"], t["ended"], rule) for t, rule in timed)


def without_pauses(jobs: Iterable[Job]) -> list[Job]:
    """Return the jobs on a clock that starts at 0 and stands still between sessions."""
    moved: list[Job] = []
    end, shift = None, 0.0
    for job in jobs:
        if end is None or job.began - end > PAUSE:
            shift += job.began - (end or 0.0)
        end = max(end or job.ended, job.ended)
        moved.append(Job(job.began - shift, job.main - shift, job.ended - shift, job.rule))
    return moved


def lanes_of(jobs: Iterable[Job]) -> list[int]:
    """Return a lane per job, the lowest that is free; as many lanes as jobs that ran at once."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    lanes: list[int] = []
    for job in jobs:
        while busy and busy[0][0] <= job.began:
            heappush(free, heappop(busy)[1])
        lanes.append(heappop(free) if free else len(busy))
        heappush(busy, (job.ended, lanes[-1]))
    return lanes


def shares(jobs: Sequence[Job], lanes: Sequence[int]) -> dict[str, float]:
    """Return the shares of all lanes' time by what it was spent on."""
    whole = (max(lanes) + 1) * max(job.ended for job in jobs)
    start_up = sum(job.main - job.began for job in jobs)
    compute = sum(job.ended - job.main for job in jobs)
    return {
        "compute": compute / whole,
        "start-up": start_up / whole,
        "idle": 1 - (compute + start_up) / whole,
    }


def draw(jobs: Sequence[Job], lanes: Sequence[int], path: Path) -> None:
    """Write the picture."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1 + 0.35 * (max(lanes) + 1)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    rules = list(dict.fromkeys(job.rule for job in jobs))
    colours = dict(zip(rules, cycle(mpl.color_sequences["tab20"]), strict=False))
    for job, lane in zip(jobs, lanes, strict=True):
        axis.barh(lane, job.ended - job.began, left=job.began, color=colours[job.rule], edgecolor="white")
        axis.barh(lane, job.main - job.began, left=job.began, color="black")
    patches = [mpl.patches.Patch(color=colour, label=rule) for rule, colour in colours.items()]
    axis.set_yticks(sorted(set(lanes)), [f"lane {lane + 1}" for lane in sorted(set(lanes))])
    axis.invert_yaxis()
    axis.set_xlabel("seconds")
    figure.legend(handles=patches, loc="outside upper center", ncols=4, fontsize=7)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Read the folder and the picture's path from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, help="folder of a study's results, such as results/mini")
    parser.add_argument("picture", type=Path, help="PNG to write")
    arguments = parser.parse_args()
    jobs = without_pauses(read_jobs(arguments.results))
    if not jobs:
        parser.error(f"no manifest with times below {arguments.results}")
    lanes = lanes_of(jobs)
    draw(jobs, lanes, arguments.picture)
    parts = ", ".join(f"{100 * share:.1f} % {name}" for name, share in shares(jobs, lanes).items())
    print(f"{len(jobs)} jobs, {max(lanes) + 1} at once, {max(job.ended for job in jobs):.0f} s: {parts}")


if __name__ == "__main__":
    main()
