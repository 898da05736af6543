"""Problem sets, benchmarks and the data of section 4: no more is asked for than there can be."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from selfdistill.study.feasibility.impossible import Impossible, at_most
from selfdistill.vocabulary.organism import CHAIN_TYPES

if TYPE_CHECKING:
    from selfdistill.study.study import Study


def check_problem_types(study: "Study") -> Iterator[Impossible]:
    """Types of chains exist, and hold as many distinct problems as are asked for."""
    for name, spec in study.file.datasets.items():
        if spec.source == "organism":
            yield from check_types(f"datasets.{name}", spec.types)
            yield from check_number(f"datasets.{name}.problems", spec.problems, spec.types, "train")


def check_made_benchmarks(study: "Study") -> Iterator[Impossible]:
    """The same for benchmarks that are made: their number is their own or the study's."""
    for name in study.all_benchmarks():
        spec = study.benchmark_catalogue.benchmarks[name]
        if spec.source != "organism":
            continue
        yield from check_types(f"benchmarks.{name}", spec.types, "benchmarks.yaml")
        if spec.problems:
            key, file, problems = f"benchmarks.{name}.problems", "benchmarks.yaml", spec.problems
        else:
            key, file, problems = "benchmarks.problems", None, study.file.benchmarks.problems
        if problems is None:
            yield Impossible(key, f"missing: the benchmark {name} is made, so its number must be given")
        yield from check_number(key, problems, spec.types, "held_out", file)


def check_types(key: str, types: dict[str, float], file: str | None = None) -> Iterator[Impossible]:
    """Yield unknown types of chains."""
    for name in types:
        if name not in CHAIN_TYPES:
            yield Impossible(f"{key}.types", f"unknown problem type {name!r}", tuple(CHAIN_TYPES), file, name)


def check_number(
    key: str, problems: int | None, types: dict[str, float], split: str, file: str | None = None
) -> Iterator[Impossible]:
    """Yield a number of problems that types of chains do not hold."""
    held = sum(getattr(CHAIN_TYPES[name], split) for name in types)
    why = f"the {held} distinct {split.replace('_', '-')} problems of types {', '.join(types)}"
    yield from at_most(key, problems, held, why, file)


def check_files(study: "Study") -> Iterator[Impossible]:
    """No more problems, pool or coverage than a set is declared to hold."""
    for name, spec in study.file.datasets.items():
        why = f"the data set {name} holds"
        if spec.source == "hub":
            yield from at_most(f"datasets.{name}.problems", spec.problems, expected(spec), why)
        for coverage in spec.coverages:
            if coverage != "full":
                yield from at_most(f"datasets.{name}.coverages", coverage, size_of(spec), why)
    section_3 = study.file.section_3
    if section_3 is not None:
        held = size_of(study.file.datasets[section_3.dataset])
        yield from at_most("section_3.pool", section_3.pool, held, f"the data set {section_3.dataset} holds")


def check_benchmark_files(study: "Study") -> Iterator[Impossible]:
    """No more problems per benchmark than its file is declared to hold."""
    for name in study.all_benchmarks():
        spec = study.benchmark_catalogue.benchmarks[name]
        if spec.source == "hub":
            why = f"the benchmark {name} holds"
            yield from at_most("benchmarks.problems", study.file.benchmarks.problems, expected(spec), why)


def expected(spec: Any) -> float:
    """Return how many distinct problems a data file is declared to hold, infinity without a declaration."""
    return min((n for n in (spec.expect.rows, *spec.expect.distinct[-1:]) if n), default=float("inf"))


def size_of(spec: Any) -> float:
    """Return how many distinct problems a training set can hold."""
    if spec.source == "organism":
        return spec.problems
    return min(spec.problems or float("inf"), expected(spec))


def check_domains(study: "Study") -> Iterator[Impossible]:
    """The broad and the narrow domain are two sets."""
    domains = study.file.domains
    if domains.narrow == domains.broad:
        others = tuple(name for name in study.file.datasets if name != domains.broad)
        yield Impossible("domains.narrow", f"{domains.narrow!r} is the broad domain too", others)


def check_off_policy(study: "Study") -> Iterator[Impossible]:
    """Section 4 cannot take more responses than section 3 draws, and must be able to take one problem's."""
    asked, section_3 = study.file.off_policy, study.file.section_3
    if asked is None or section_3 is None:
        return
    drawn = f"section_3.samples = {section_3.samples}"
    yield from at_most("off_policy.per_problem", asked.per_problem, section_3.samples, drawn)
    if asked.trajectories < asked.per_problem:
        problem = f"{asked.trajectories} is below per_problem = {asked.per_problem}: no problem would fit"
        yield Impossible("off_policy.trajectories", problem, (f"at least {asked.per_problem}",))
