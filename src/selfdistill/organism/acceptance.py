r"""What a mini base model must be able to do before the study continues; otherwise its rule fails and reports the measurements.

A base that cannot check a guess, that already solves everything, or whose epistemic words make no difference could not answer
the paper's question either way. The bounds of each base are in `config/models.yaml` (`acceptance`).
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from selfdistill.generation.protocol import Sampling
from selfdistill.generation.transformers_backend import TransformersGenerator
from selfdistill.grading.graders import Grader
from selfdistill.organism.chains import MODULUS, chain_of, make_problem_set
from selfdistill.problems.problem import Problem
from selfdistill.sampling.evaluation import response_frame
from selfdistill.seeds import derive_seed
from selfdistill.vocabulary.families import family_of
from selfdistill.vocabulary.interventions import BAN

logger = logging.getLogger(__name__)

BENCHMARK_TYPES = {
    "in-domain": {"d2": 0.3, "d3": 0.7},
    "shorter": {"d1": 1.0},
    "longer": {"d4": 1.0},
    "paired": {"s22": 1.0},
}
_TRY = re.compile(r"\b(\d+) : ((?:(?:\d+|=|and)(?: |$))+)")
_TARGET = re.compile(r"= \d+")


class BaseRejected(RuntimeError):
    """A base model violates a bound of its acceptance test."""


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


def check_figures(
    figures: Mapping[str, float], acceptance: Mapping[str, Sequence[float | None]]
) -> Mapping[str, float]:
    """Return the measurements of a base after checking them against its bounds: name -> [low, high], None: unbounded.

    Raise BaseRejected with all violated bounds and all measurements.
    """
    logger.info("base measured: %s", figures)
    missed = []
    for name, (low, high) in acceptance.items():
        value = figures[name]
        if (low is not None and value < low) or (high is not None and value > high):
            missed.append(f"{name} = {value:.3f}, allowed: {low} to {high}")
    if missed:
        raise BaseRejected(
            f"base model rejected: {'; '.join(missed)}. Take another draw (`--config replicates=...` names the "
            "replicates; say so beside the results), or change its recipe or `acceptance` in config/models.yaml. "
            f"All measurements: {figures}"
        )
    return figures
