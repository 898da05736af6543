"""Where the time of a study's cores went: compute, imports, start-up, and the rest, from the manifests of its jobs.

Drawn by `figures.timeline` for the report's cost section. A manifest without times (written before they were kept) is left out
and counted. Jobs with at most PAUSE seconds of silence between them are one session; a study that was resumed or extended has
several, and what lies between them counts nowhere. A session's number of lanes is the most jobs that it ran at once, so all shares
are of `lanes x length`, summed over sessions.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

PHASES = ("compute", "imports", "start-up", "between jobs")
PAUSE = 60.0
"""Seconds in which nothing ran that separate two sessions."""


@dataclass(frozen=True)
class Span:
    """One job: seconds of the epoch at which its process and its main function began and ended, seconds of imports."""

    rule: str
    began: float
    main: float
    ended: float
    imports: float

    @property
    def phases(self) -> dict[str, float]:
        """Seconds by phase; they add up to the job's length."""
        compute = max(self.ended - self.main - self.imports, 0.0)
        known = {"compute": compute, "imports": self.imports}
        return known | {"start-up": self.ended - self.began - sum(known.values())}


def spans_of(manifests: Iterable[Mapping[str, Any]]) -> list[Span]:
    """The jobs that have their times, in the order in which they began."""
    timed = [(manifest["rule"], manifest["times"]) for manifest in manifests if "times" in manifest]
    spans = [
        Span(rule, t["process_began"], t["main_began"], t["ended"], t["import_seconds"]) for rule, t in timed
    ]
    return sorted(spans, key=lambda span: (span.began, span.ended))


def sessions_of(spans: Sequence[Span]) -> list[list[Span]]:
    """Jobs (in order) by session."""
    sessions: list[list[Span]] = []
    last = float("-inf")
    for span in spans:
        if span.began - last > PAUSE:
            sessions.append([])
        sessions[-1].append(span)
        last = max(last, span.ended)
    return sessions


def lanes_of(session: Sequence[Span]) -> list[int]:
    """A lane for each job of a session (in order): the lowest that is free. As many as ran at once."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    lanes: list[int] = []
    for span in session:
        while busy and busy[0][0] <= span.began:
            heappush(free, heappop(busy)[1])
        lane = heappop(free) if free else len(busy)
        heappush(busy, (span.ended, lane))
        lanes.append(lane)
    return lanes


def length_of(session: Sequence[Span]) -> float:
    """Seconds from the first job's begin to the last one's end."""
    return max(span.ended for span in session) - session[0].began


def seconds_by_phase(sessions: Iterable[Sequence[Span]]) -> dict[str, float]:
    """Seconds of all lanes by phase (PHASES)."""
    total: Counter[str] = Counter()
    for session in sessions:
        offered = (max(lanes_of(session)) + 1) * length_of(session)
        for span in session:
            total.update(span.phases)
        total["between jobs"] += offered - sum(span.ended - span.began for span in session)
    return {phase: total[phase] for phase in PHASES}


def shares_of(seconds: Mapping[str, float]) -> dict[str, float]:
    """Shares of the whole, from seconds by phase."""
    whole = sum(seconds.values()) or 1.0
    return {phase: value / whole for phase, value in seconds.items()}


def describe(spans: Sequence[Span], jobs: int) -> str:
    """The caption: the shares, what they are shares of, and what is not in them."""
    if not spans:
        return f"None of the {jobs} jobs has recorded its times: they ran before times were kept."
    sessions = sessions_of(spans)
    seconds = seconds_by_phase(sessions)
    shares = ", ".join(f"{100 * share:.1f} % {phase}" for phase, share in shares_of(seconds).items())
    lanes = sorted({max(lanes_of(session)) + 1 for session in sessions})
    width = " or ".join(str(number) for number in lanes)
    text = f"{shares} of {sum(seconds.values()):.0f} lane-seconds ({len(spans)} jobs, {width} at once)."
    if len(sessions) > 1:
        text += f" The study ran in {len(sessions)} sessions; the time between them is cut out."
    if len(spans) < jobs:
        text += f" {jobs - len(spans)} more jobs have not recorded their times and are left out."
    return (
        f"{text} Start-up: from the process's begin to the job's main function; between jobs: end of processes, Snakemake's "
        "own work, waiting for inputs, and what a killed call had begun. Snakemake's start before the first job, this picture "
        "and the report come on top."
    )
