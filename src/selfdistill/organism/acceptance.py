r"""What a mini base model must be able to do before the study continues.

A base that cannot check a guess, that already solves everything, or whose epistemic words make no difference could not answer
the paper's question either way. The bounds of each base are in `config/models.yaml` (`acceptance`). A draw that misses one is named, and the
next is taken; if all of MOST_DRAWS miss, the recipe is at fault, so the rule fails and reports the measurements.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from selfdistill.generation.protocol import Sampling
from selfdistill.generation.transformers_backend import TransformersGenerator
from selfdistill.grading.graders import Grader
from selfdistill.organism.chains import MODULUS, chain_of, make_problem_set
from selfdistill.problems.problem import Problem
from selfdistill.records.files import read_json, write_text
from selfdistill.sampling.evaluation import response_frame
from selfdistill.seeds import derive_seed
from selfdistill.vocabulary.families import family_of
from selfdistill.vocabulary.interventions import BAN
from selfdistill.vocabulary.organism import REFUSED

logger = logging.getLogger(__name__)

BENCHMARK_TYPES = {
    "in-domain": {"d2": 0.3, "d3": 0.7},
    "shorter": {"d1": 1.0},
    "longer": {"d4": 1.0},
    "paired": {"s22": 1.0},
}
_TRY = re.compile(r"\b(\d+) : ((?:(?:\d+|=|and)(?: |$))+)")
_TARGET = re.compile(r"= \d+")


MOST_DRAWS = 3
"""Draws of a base, or of its polish, of which the first that keeps its bounds is taken."""


class BaseRejected(RuntimeError):
    """No draw of a base model keeps the bounds of its acceptance test."""


def arithmetic_tries(problem: Problem, response: str) -> list[bool]:
    """Return, for each try `x : v1 v2 = target` of a response, whether all its values are right."""
    chain = chain_of(problem)
    tries = (
        (int(x), [int(v) for v in re.findall(r"\d+", _TARGET.sub("", shown))])
        for x, shown in _TRY.findall(response)
    )
    return [chain.values(x) == values for x, values in tries if x < MODULUS]


def measure_base(
    folder: Path,
    template: str,
    seed: int,
    problems: int = 256,
    thinking: str | None = None,
    max_new_tokens: int = 128,
) -> dict[str, float]:
    """Return accuracy per benchmark type (own problems, temperature 1), share of right tries, and the cost of banning the ten words.

    problems: per benchmark, at most 128 of `shorter`; thinking: of the responses (None: the first that the template writes);
    max_new_tokens: their longest length.
    """
    generator = TransformersGenerator.load(folder, thinking or family_of(template).modes[0])
    sets = {
        name: make_problem_set(
            types,
            128 if name == "shorter" else problems,
            derive_seed(seed, "acceptance", name),
            "held-out",
            name,
        )
        for name, types in BENCHMARK_TYPES.items()
    }
    figures: dict[str, float] = {}
    sampling = Sampling(max_new_tokens=max_new_tokens)
    with Grader() as grader:
        for name, items in sets.items():
            frame = response_frame(
                generator, items, template, 1, sampling, derive_seed(seed, "accept", name), grader
            )
            figures[f"accuracy {name}"] = float(frame["correct"].mean())
            if name == "in-domain":
                tries = [
                    ok for p, r in zip(items, frame["response"], strict=True) for ok in arithmetic_tries(p, r)
                ]
                figures["arithmetic"] = sum(tries) / max(1, len(tries))
                figures["response_tokens"] = float(frame["response_tokens"].mean())
                figures["epistemic_words"] = float(frame["epistemic_word"].mean())
        banned = replace(sampling, intervention=BAN)
        frame = response_frame(
            generator, sets["in-domain"], template, 1, banned, derive_seed(seed, "accept", "ban"), grader
        )
        figures["accuracy in-domain, epistemic words banned"] = float(frame["correct"].mean())
    figures["ban cost"] = (
        figures["accuracy in-domain"] - figures["accuracy in-domain, epistemic words banned"]
    )
    return figures


def first_accepted(
    draw: Callable[[int, Path], Mapping[str, float]],
    bounds: Mapping[str, Sequence[float | None]],
    seed: int,
    folder: Path,
) -> tuple[Path, dict[str, float]]:
    """Return the folder and the measurements of the first of MOST_DRAWS draws that keeps its bounds, with the number of those REFUSED.

    draw: makes a draw in a folder and returns its measurements, which are kept there; bounds: name -> [low, high], None: unbounded. The first
    draw has `seed` itself. Raise BaseRejected, with the violated bounds and all measurements of the last draw, if none keeps them.
    """
    for number in range(MOST_DRAWS):
        place = folder / f"draw-{number}"
        kept = place / "measured.json"
        if not kept.exists():
            place.mkdir(parents=True, exist_ok=True)
            measured = draw(derive_seed(seed, "draw", number) if number else seed, place)
            write_text(kept, json.dumps(measured, indent=1) + "\n")
        figures = read_json(kept)
        logger.info("base measured: %s", figures)
        if not (missed := violated(figures, bounds)):
            return place, {**figures, REFUSED: number}
        logger.warning("base refused, draw %d of at most %d: %s", number + 1, MOST_DRAWS, missed)
    raise BaseRejected(
        f"base model rejected, {MOST_DRAWS} draws of {MOST_DRAWS}; the last: {missed}. Take another replicate (`--config replicates=...`; "
        f"say so beside the results), or change its recipe or `acceptance` in config/models.yaml. All measurements: {figures}"
    )


def violated(figures: Mapping[str, float], bounds: Mapping[str, Sequence[float | None]]) -> str:
    """Return the measurements that lie outside of their bounds, with these; `""` for none."""
    return "; ".join(
        f"{name} = {figures[name]:.3f}, allowed: {low} to {high}"
        for name, (low, high) in bounds.items()
        if (low is not None and figures[name] < low) or (high is not None and figures[name] > high)
    )
