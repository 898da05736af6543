"""Richness, measured: how much each context of section 3 tells about the model's own correct responses.

Paper: contexts are ordered by I(y*; c | x) (section 3), which it does not compute. I(y; c | x) is the mean of log p(y | x, c) - log p(y | x)
over y and c together, that is over responses written under c. The model's p(y | x) stands for the mean of p(y | x, c) over c, so the
measured mean is an upper bound. It is at least log P(correct | x, c) - log P(correct | x).

The mean over unguided correct responses is another quantity, and is measured too. It is at most -log P(correct | x), which it reaches if c
tells the answer and changes nothing else; it is below 0 if c changes how the model writes by more than it tells. Both bounds are those of
responses sampled at temperature 1 without top-p and top-k.

A response is scored as text: its tokens are those of the tokenizer, and its end if it ended (any end token). The distribution is the
model's own, at temperature 1. The unguided response from which the contexts are made (`source`) is kept in the record. Statistics leave it
out: a model that copies it would measure the length of the copy.

The job is here and not in `run`, so that a change in what scores does not count for what generates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd

from selfdistill.generation.imports import LOADING
from selfdistill.grading.positions import OTHER, token_positions
from selfdistill.models.prompts import prompt_ids
from selfdistill.problems.problem import Problem, read_problems
from selfdistill.records.files import read_table, write_table
from selfdistill.records.parts import NOT_KEPT, Parts
from selfdistill.records.schemas import richness_schema, samples_schema
from selfdistill.records.task import Facts, Task, job
from selfdistill.sampling.evaluation import load_generator
from selfdistill.sampling.scoring import fitting, response_log_probs
from selfdistill.sampling.section_3 import Rounds
from selfdistill.study.jobs import RichnessParams
from selfdistill.vocabulary.contexts import PAPER_CONTEXTS
from selfdistill.vocabulary.token_classes import POSITIONS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from selfdistill.generation.transformers_backend import TransformersGenerator

UNGUIDED = PAPER_CONTEXTS[0]


@dataclass(frozen=True)
class Prompts:
    """Token ids of every prompt: context -> problem id -> ids."""

    of: dict[str, dict[str, list[int]]]

    @classmethod
    def shown(
        cls,
        samples: pd.DataFrame,
        problems: Sequence[Problem],
        template: str,
        tokenizer: "PreTrainedTokenizerBase",
        thinking: str,
    ) -> "Prompts":
        """Return the prompts that section 3 made of its own samples."""
        rounds = Rounds(_refuse, template, list(problems), dict(list(samples.groupby("context", sort=False))))
        turns = {UNGUIDED: [problem.question for problem in problems]}
        turns |= {context: rounds.turns(context) for context in rounds.frames if context != UNGUIDED}
        names = [problem.problem_id for problem in problems]
        return cls(
            {
                context: dict(zip(names, prompt_ids(tokenizer, own, thinking), strict=True))
                for context, own in turns.items()
            }
        )


def _refuse(problems: Sequence[Problem], context: str, turns: Sequence[str] | None) -> NoReturn:
    """Raise ValueError: all rounds are finished, so nothing is generated."""
    raise ValueError(f"the samples of section 3 have no context {context!r}")


def correct_responses(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the correct responses of section 3, one row each: problem_id, written, sample_index, source, response, truncated.

    written: the context under which it was written; source: whether contexts are made from it (the first unguided one).
    """
    own = samples[samples["correct"]].rename(columns={"context": "written"}).reset_index(drop=True)
    first = ~own.duplicated(["problem_id", "written"])
    columns = ["problem_id", "written", "sample_index", "source", "response", "truncated"]
    return own.assign(source=first & (own["written"] == UNGUIDED))[columns]


def measure(
    generator: "TransformersGenerator",
    samples: pd.DataFrame,
    problems: Sequence[Problem],
    template: str,
    batch: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    parts: Parts = NOT_KEPT,
) -> pd.DataFrame:
    """Return one row per correct response, context and position class that occurs in it (records.schemas.richness_schema).

    samples: of section 3, of one model; problems: those of the samples; batch: problems per part. Columns: context, those of
    `correct_responses` without the text, position, tokens and nats (sum of log p(y | x, c) - log p(y | x)). A pair of response and context
    that exceeds the model's positions is left out, and logged.
    """
    prompts = Prompts.shown(samples, problems, template, generator.tokenizer, generator.thinking)
    responses = correct_responses(samples)
    names = [problem.problem_id for problem in problems]
    frames = []
    for start in range(0, len(names), batch):
        own = responses[responses["problem_id"].isin(names[start : start + batch])].reset_index(drop=True)
        frames.append(parts.get(f"problems-{start}", lambda own=own: score(generator, own, prompts)))
        progress(min(start + batch, len(names)), len(names))
    return pd.concat(frames, ignore_index=True)


def score(generator: "TransformersGenerator", responses: pd.DataFrame, prompts: Prompts) -> pd.DataFrame:
    """Return the rows of some responses under all contexts; an unguided one is scored under every context, others under their own."""
    ids, classes = tokenized(generator, responses)
    written, names = responses["written"].to_numpy(), responses["problem_id"].to_numpy()
    pairs = [
        (row, context)
        for context in prompts.of
        for row in range(len(responses))
        if written[row] in (UNGUIDED, context)
    ]

    def read(some: Sequence[tuple[int, str]]) -> tuple[list[list[int]], list[list[int]]]:
        """Return the token ids of the prompts and responses of some pairs."""
        return [prompts.of[context][names[row]] for row, context in some], [ids[row] for row, _ in some]

    kept = [pairs[i] for i in fitting(generator.model, *read(pairs))]
    guided = [pair for pair in kept if pair[1] != UNGUIDED]
    asked = [(row, UNGUIDED) for row in range(len(responses))] + guided
    scored = response_log_probs(generator.model, *read(asked), generator.end_token_ids)
    given = dict(zip(asked, scored, strict=True))
    return by_position(responses, [(pair, given[pair] - given[pair[0], UNGUIDED]) for pair in kept], classes)


def tokenized(
    generator: "TransformersGenerator", responses: pd.DataFrame
) -> tuple[list[list[int]], list[np.ndarray]]:
    """Return token ids and position classes of every response; one that was not truncated has its end token."""
    texts = responses["response"].tolist()
    if not texts:
        return [], []
    encoded = generator.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    ends = [[] if cut else [generator.end_token_ids[0]] for cut in responses["truncated"]]
    ids = [[*own, *end] for own, end in zip(encoded["input_ids"], ends, strict=True)]
    classes = [
        np.concatenate([token_positions(text, offsets), np.full(len(end), OTHER)])
        for text, offsets, end in zip(texts, encoded["offset_mapping"], ends, strict=True)
    ]
    return ids, classes


def by_position(
    responses: pd.DataFrame,
    ratios: Sequence[tuple[tuple[int, str], np.ndarray]],
    classes: Sequence[np.ndarray],
) -> pd.DataFrame:
    """Return the sums of log-ratios per pair (row of `responses`, context) and position class that has tokens."""
    rows = np.array([row for (row, _), _ in ratios], dtype=np.int64)
    contexts = np.array([context for (_, context), _ in ratios], dtype=object)
    nothing = [np.empty(0, dtype=np.int64)]
    cells = np.concatenate([i * len(POSITIONS) + classes[row] for i, row in enumerate(rows)] or nothing)
    size = len(ratios) * len(POSITIONS)
    tokens = np.bincount(cells, minlength=size)
    nats = np.bincount(
        cells, weights=np.concatenate([own for _, own in ratios] or nothing).astype(float), minlength=size
    )
    kept = np.flatnonzero(tokens)
    pair, position = np.divmod(kept, len(POSITIONS))
    frame = responses.drop(columns=["response", "truncated"]).iloc[rows[pair]].reset_index(drop=True)
    frame.insert(0, "context", contexts[pair])
    return frame.assign(
        position=np.array(POSITIONS, dtype=object)[position], tokens=tokens[kept], nats=nats[kept]
    )


def scoring_modules(params: Mapping[str, Any]) -> Sequence[str]:
    """Return the modules that scoring imports: whatever generates, transformers scores."""
    return LOADING["transformers"]


@job(late=scoring_modules)
def measure_richness(task: Task) -> Facts:
    """Write how much the contexts of section 3 tell about a model's own correct responses."""
    params = RichnessParams.model_validate(task.params["job"])
    samples = read_table(task.input.samples, samples_schema())
    kept = set(samples["problem_id"])
    frame = measure(
        load_generator(Path(task.input.base), params.thinking, "transformers"),
        samples,
        [problem for problem in read_problems(task.input.problems) if problem.problem_id in kept],
        params.template,
        params.batch,
        task.progress,
        task.parts,
    )
    constant = {name: value for name, value in params.run.fields().items() if name != "context"}
    write_table(task.output.richness, frame.assign(study=params.study, **constant), richness_schema())
    return {"scored_tokens": int(frame["tokens"].sum())}
