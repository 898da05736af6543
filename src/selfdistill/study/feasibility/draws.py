"""Seeds and sampling: within the records, the vocabulary and the positions of a model, and what the backend can do."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from selfdistill.seeds import SEEDS
from selfdistill.study.feasibility.impossible import (
    Impossible,
    at_most,
    check_temperature,
    fits_positions,
    made_here,
)
from selfdistill.study.shown import intervened_runs
from selfdistill.vocabulary.interventions import BAN, INTERVENTIONS
from selfdistill.vocabulary.organism import VOCABULARY_SIZE

if TYPE_CHECKING:
    from selfdistill.study.study import Study


def check_seeds(study: "Study") -> Iterator[Impossible]:
    """Replicates and seeds are small numbers, so that no two draws have the same random streams."""
    lists = {"replicates": study.file.replicates, "seeds": study.file.seeds}
    lists |= {f"runs.{index}.seeds": entry.seeds or [] for index, entry in enumerate(study.file.runs)}
    for key, numbers in lists.items():
        for number in numbers:
            if number not in SEEDS:
                problem = f"{number} is {'negative' if number < 0 else 'too large'}"
                yield Impossible(key, problem, (f"0 to {SEEDS[-1]}",))


def check_sampling(study: "Study") -> Iterator[Impossible]:
    """Temperatures are no slip of the pen; no cut is wider than an organism's vocabulary."""
    section_3 = study.file.section_3
    cuts = {"benchmarks": study.file.benchmarks.top_k, "section_3": section_3.top_k if section_3 else 0}
    yield from check_temperature("benchmarks.temperature", study.file.benchmarks.temperature)
    for name in study.models():
        own = study.model(name).sampling
        yield from check_temperature(f"models.{name}.sampling.temperature", own.temperature, "models.yaml")
        if made_here(study, name):
            why = f"the vocabulary of {name}"
            yield from at_most(
                f"models.{name}.sampling.top_k", own.top_k, VOCABULARY_SIZE, why, "models.yaml"
            )
            for section, cut in cuts.items():
                yield from at_most(f"{section}.top_k", cut, VOCABULARY_SIZE, why)


def check_lengths(study: "Study") -> Iterator[Impossible]:
    """Responses leave room for a prompt in the positions of an organism."""
    section_3 = study.file.section_3
    asked = {
        "benchmarks.max_new_tokens": study.file.benchmarks.max_new_tokens,
        "section_3.max_new_tokens": section_3.max_new_tokens if section_3 else None,
    }
    if any(made_here(study, name) for name in study.models()):
        for key, tokens in asked.items():
            yield from fits_positions(key, tokens)


def check_interventions(study: "Study") -> Iterator[Impossible]:
    """Interventions and the table that shows them come together, each is listed once, and the backend has it."""
    key, chosen = "benchmarks.interventions", study.file.benchmarks.interventions
    shown = intervened_runs(study)
    if shown and not chosen:
        yield Impossible(key, "must list what the table `interventions` shows", INTERVENTIONS)
    if chosen and not shown:
        yield Impossible(key, "is used by the table `interventions` only: declare it in `tables`")
    for name in chosen:
        if chosen.count(name) > 1:
            yield Impossible(key, f"{name!r} is listed twice")
        if study.file.backend == "vllm" and name != BAN:
            yield Impossible(key, f"the backend vllm has no intervention {name}", (BAN,))
