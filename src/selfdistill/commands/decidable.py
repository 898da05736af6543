"""Which claims on accuracy a study can decide: how far an effect must lie beyond the bound of its claim to be detected.

Used by `plan`, before anything runs, with the variance model of the intervals (`statistics.power`). The level is that of Holm's first
step: alpha over the number of clauses in the claim's family.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from selfdistill.claims.ledger import ROLLOUTS, ledger_of
from selfdistill.claims.linked import linked_runs
from selfdistill.claims.selection import PlannedPart, draws_of, plan_claims
from selfdistill.commands.costs import benchmark_sizes
from selfdistill.study.study import Study
from selfdistill.vocabulary.runs import SECTION_3


def decidable_section(study: Study) -> list[str]:
    """Return a line per claim with the smallest effects on accuracy that would decide its parts; none if there are no such claims."""
    ledger = ledger_of(study)
    clauses = Counter(claim.family for claim in ledger.claims.values() for _ in claim.clauses or ("",))
    found: dict[str, dict[str, None]] = {}
    parts = plan_claims(ledger, study)
    units = ledger_units(study, parts)
    for part in parts:
        level = 1 - ledger.alpha / clauses[ledger.claims[part.claim].family]
        if (
            part.counts
            and part.metric == "accuracy"
            and len({arm.weight for arm in part.arms}) == 2
            and not any(arm.over for arm in part.arms)
            and (text := part_text(study, part, level, units))
        ):
            found.setdefault(part.claim, {})[text] = None
    if not found:
        return []
    replicates, seeds = draws_of(study)
    if replicates * seeds == 1:
        return ["claims: one replicate with one seed gives effects and no verdict on what training does"]
    over = f"{replicates} replicates" if replicates > 1 else f"{seeds} seeds of the same bases"
    head = f"claims on accuracy: effects that {over} would decide (Holm's level of the family, power 80 %):"
    return [head, *(f"  {name:4} {'; '.join(texts)}" for name, texts in found.items())]


def ledger_units(study: Study, parts: Sequence[PlannedPart]) -> int | None:
    """Return the number of groups of linked runs, which lend each other what they tell of draws of accuracy; None for several replicates."""
    pool = [part for part in parts if part.metric == "accuracy" and part.benchmark != SECTION_3 and part.arms]
    return len({*linked_runs(pool)} - {None}) if draws_of(study)[0] == 1 else None


def part_text(study: Study, part: PlannedPart, level: float, units: int | None = None) -> str:
    """Return the effects that decide a part: `aime24 at most -12.9 points`.

    Empty where the number of problems is not known, and where the study draws a base once, so that nothing is decided. The mean over
    several models is taken to vary as that of independent ones. units: see `smallest_effect`.
    """
    last = all(arm.step == 1 for arm in part.arms)
    shift = detectable(study, part.arms[0].benchmarks, level, last=last, units=units)
    if shift is None or (part.benchmark == SECTION_3 and part.drawn and draws_of(study)[0] == 1):
        return ""
    shift /= math.sqrt(len({arm.group for arm in part.arms}))
    sides = []
    if part.above is not None:
        sides.append(f"at least {100 * (part.above + shift):+.1f}")
    if part.below is not None:
        sides.append(f"at most {100 * (part.below - shift):+.1f}")
    if len(sides) == 2 and part.above + shift > part.below - shift:
        sides = [f"cannot be shown, its bounds lie closer than twice {100 * shift:.1f}"]
    none = ""
    if part.margin:
        none = f" (no effect {'is decided' if part.margin >= shift else 'stays open'})"
    return f"{part.benchmark} {' and '.join(sides)} points{none}"


def detectable(
    study: Study,
    benchmarks: Sequence[str],
    level: float = 0.95,
    *,
    last: bool = True,
    units: int | None = None,
) -> float | None:
    """Return the smallest detectable difference in the mean accuracy over benchmarks; None if a number of problems is not known.

    last: whether both runs are judged after training, where they may have more samples; units: see `smallest_effect`.
    """
    if benchmarks[0] in ROLLOUTS:
        return None
    if benchmarks[0] == SECTION_3:
        samples, sizes = study.file.section_3.samples, [study.file.section_3.problems]
    else:
        samples = study.file.benchmarks.samples_at(last=last)
        sizes = list(benchmark_sizes(study, benchmarks).values())
    if not all(sizes):
        return None
    return smallest_effect(
        study, equal_weight(sizes), samples, level, seeded=benchmarks[0] != SECTION_3, units=units
    )


def smallest_effect(
    study: Study,
    problems: int,
    samples: int,
    level: float = 0.95,
    *,
    seeded: bool = True,
    units: int | None = None,
) -> float:
    """Return the smallest difference of two runs that the draws of a study detect.

    seeded: seeds draw the responses anew; those of a replicate count as more samples. Section 3 has one draw per replicate. units: groups
    of runs that lend each other what they tell of draws (default: as in figures, with replicates the bases, with seeds the runs).
    """
    from selfdistill.statistics.power import lent_freedom, minimum_detectable_effect  # loads scipy

    replicates, seeds = draws_of(study)
    several = replicates > 1
    draws, own = (
        (replicates, len({study.root_key(base) for base in study.bases()}))
        if several
        else (seeds if seeded else 1, len({str(run.key()) for run in study.runs()}))
    )
    return minimum_detectable_effect(
        n_problems=problems,
        k=samples * (seeds if several and seeded else 1),
        draws=draws,
        others=lent_freedom(draws, own if units is None else units),
        level=level,
    )


def equal_weight(sizes: Iterable[int]) -> int:
    """Return the number of problems of one benchmark whose mean varies as the mean over benchmarks of these sizes."""
    sizes = list(sizes)
    return round(len(sizes) ** 2 / sum(1 / size for size in sizes))
