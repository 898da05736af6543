"""Which claims on accuracy a study can decide: how far an effect must lie beyond the bound of its claim to be detected.

Used by `plan`, before anything runs. The same variance model as the smallest detectable differences (`statistics.power`); Holm's
correction within a family of claims asks for more.
"""

from collections.abc import Iterable, Sequence

from selfdistill.claims.ledger import load_ledger
from selfdistill.claims.selection import PlannedPart, plan_claims
from selfdistill.commands.costs import benchmark_sizes
from selfdistill.study.study import Study


def decidable_section(study: Study) -> list[str]:
    """Return a line per claim with the smallest effects on accuracy that would decide its parts; none if there are no such claims."""
    found: dict[str, dict[str, None]] = {}
    for part in plan_claims(load_ledger(study.path.parent / "claims.yaml"), study):
        if (
            part.counts
            and part.metric == "accuracy"
            and len(part.arms) == 2
            and (text := part_text(study, part))
        ):
            found.setdefault(part.claim, {})[text] = None
    if not found:
        return []
    seeds = len(study.file.seeds)
    head = f"claims on accuracy: effects that {seeds} seed{'s' if seeds > 1 else ''} would decide (95 %, power 80 %)"
    note = "; with one seed a verdict is on these runs only, not on the method" if seeds == 1 else ""
    return [f"{head}{note}:", *(f"  {name:4} {'; '.join(texts)}" for name, texts in found.items())]


def part_text(study: Study, part: PlannedPart) -> str:
    """Return the effects that decide a part: `aime24 at most -12.9 points`; empty where the number of problems is not known."""
    shift = detectable(study, part.arms[0].benchmarks)
    if shift is None:
        return ""
    sides = []
    if part.above is not None:
        sides.append(f"at least {100 * (part.above + shift):+.1f}")
    if part.below is not None:
        sides.append(f"at most {100 * (part.below - shift):+.1f}")
    if len(sides) == 2 and part.above + shift > part.below - shift:
        sides = [f"cannot be shown, its bounds lie closer than twice {100 * shift:.1f}"]
    return f"{part.benchmark} {' and '.join(sides)} points"


def detectable(study: Study, benchmarks: Sequence[str]) -> float | None:
    """Return the smallest detectable difference in the mean accuracy over benchmarks; None if a number of problems is not known."""
    from selfdistill.statistics.power import minimum_detectable_effect  # loads scipy

    if benchmarks[0] == "training":
        return None
    settings, seeds = study.file.benchmarks, len(study.file.seeds)
    if benchmarks[0] == "section-3":
        settings, seeds, sizes = study.file.section_3, 1, [study.file.section_3.problems]
    else:
        sizes = list(benchmark_sizes(study, benchmarks).values())
    if not all(sizes):
        return None
    return minimum_detectable_effect(n_problems=equal_weight(sizes), k=settings.samples, seeds=seeds)


def equal_weight(sizes: Iterable[int]) -> int:
    """Return the number of problems of one benchmark whose mean varies as the mean over benchmarks of these sizes."""
    sizes = list(sizes)
    return round(len(sizes) ** 2 / sum(1 / size for size in sizes))
