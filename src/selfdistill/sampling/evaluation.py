"""From a model and problems to *samples*: one row per response, the record from which all numbers of the study are computed.

Paper: acc@16 and pass@16 on the benchmarks (sections 4 to 6); the authors' settings are in paper.md 4.5. A job evaluates one
checkpoint and keeps finished parts (records.parts). Section 3 uses the same function with other user turns.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from selfdistill.generation.protocol import Completion, Generator, Sampling
from selfdistill.grading.answers import Grade
from selfdistill.grading.epistemic import count_columns
from selfdistill.grading.graders import Grader, grader_for
from selfdistill.models.finite import NotFinite
from selfdistill.models.loading import check_model_folder
from selfdistill.models.prompts import thinking_text
from selfdistill.problems.problem import Problem
from selfdistill.records.parts import NOT_KEPT, Parts
from selfdistill.seeds import derive_seed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

BACKENDS = ("transformers", "vllm")
VLLM_CHUNK = 128
"""Problems per part of a vLLM evaluation: an hour or two for a 7 B model with long responses."""


def response_frame(
    generator: Generator,
    problems: Sequence[Problem],
    template: str,
    samples: int,
    sampling: Sampling,
    seed: int,
    grader: Grader,
    user_turns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Generate, grade and count, and return `samples` rows per problem, in the order of the problems.

    user_turns: one per problem (default: the bare questions). Columns: those of records.schemas.samples_schema from problem_id
    on.
    """
    turns = list(user_turns) if user_turns is not None else [p.question for p in problems]
    groups = generator.generate(turns, samples, sampling, seed)
    flat = [
        (p, turn, i, c)
        for p, turn, group in zip(problems, turns, groups, strict=True)
        for i, c in enumerate(group)
    ]
    texts = [c.text for *_, c in flat]
    grades = grade_by_kind(grader, texts, [p for p, *_ in flat])
    frame = pd.DataFrame(
        {
            "problem_id": [p.problem_id for p, *_ in flat],
            "sample_index": [i for _, _, i, _ in flat],
            "prompt_hash": [hashlib.sha256(turn.encode()).hexdigest()[:16] for _, turn, _, _ in flat],
            "response": texts,
            "extracted_answer": [g.extracted for g in grades],
            "correct": [g.correct for g in grades],
            "outcome": [g.outcome for g in grades],
            "response_tokens": [len(c.token_ids) for *_, c in flat],
            "thinking_tokens": _thinking_tokens(generator.tokenizer, [c for *_, c in flat], template),
            "truncated": [c.truncated for *_, c in flat],
        }
    )
    return pd.concat([frame, count_columns(texts)], axis=1)


def grade_by_kind(grader: Grader, texts: Sequence[str], problems: Sequence[Problem]) -> list[Grade]:
    """Return the grades of texts, by `grader` or by the letter of a multiple-choice question.

    Raise ValueError for problems of different kinds.
    """
    chosen = grader_for((problem.grading for problem in problems), grader)
    return chosen.grade(texts, [problem.answers for problem in problems])


def _thinking_tokens(
    tokenizer: "PreTrainedTokenizerBase", completions: Sequence[Completion], template: str
) -> list[int]:
    """Return the number of tokens of each completion's thinking."""
    thinking = [thinking_text(c.text, template) for c in completions]
    return [len(ids) for ids in tokenizer(thinking, add_special_tokens=False)["input_ids"]]


def evaluate_checkpoint(
    step: int,
    folder: Path,
    benchmarks: Mapping[str, Sequence[Problem]],
    thinking: str,
    template: str,
    samples: int,
    sampling: Sampling,
    fields: Mapping[str, object],
    seed: int,
    backend: str = "transformers",
    grader: str = "strict",
    progress: Callable[[int, int], None] = lambda done, total: None,
    parts: Parts = NOT_KEPT,
    base: Path | None = None,
) -> pd.DataFrame:
    """Return the samples of a checkpoint on every benchmark.

    folder: in Hugging Face's format; fields: fields of study and run, the first columns of each row; grader: name of the grader of
    boxed answers; parts: finished parts are reused, and if all are finished, the model is not loaded; base: see `load_generator`. The
    sampling seed depends on the run's seed and the benchmark only, so that checkpoints and runs of the same seed differ in their weights only.
    """
    frames, generator = [], cache(partial(load_generator, folder, thinking, backend, base))
    with Grader(grader) as own:

        def answer(name: str, problems: Sequence[Problem]) -> pd.DataFrame:
            """Return the samples of a chunk of a benchmark."""
            stream = derive_seed(seed, "evaluation", name)
            return response_frame(generator(), problems, template, samples, sampling, stream, own)

        for name, problems in benchmarks.items():
            with naming_checkpoint(step, folder):
                chunks = [
                    parts.get(f"{name}/{start}", partial(answer, name, chunk))
                    for start, chunk in chunks_of(problems, backend)
                ]
            frame = pd.concat(chunks, ignore_index=True)
            lead = {**fields, "step": step, "benchmark": name}
            frames.append(pd.concat([pd.DataFrame([lead] * len(frame)), frame], axis=1))
            accuracy, tokens = frame["correct"].mean(), frame["response_tokens"].mean()
            logger.info("step %d, %s: accuracy %.3f, %.1f tokens", step, name, accuracy, tokens)
            progress(len(frames), len(benchmarks))
    return pd.concat(frames, ignore_index=True)


@contextmanager
def naming_checkpoint(step: int, folder: Path) -> Iterator[None]:
    """Add the checkpoint to the error about weights or logits that are not finite."""
    try:
        yield
    except NotFinite as error:
        raise NotFinite(f"step {step}, {folder}: {error}") from error


def chunks_of(problems: Sequence[Problem], backend: str) -> Iterator[tuple[int, Sequence[Problem]]]:
    """Yield the problems of each call of the backend, with the index of the first one.

    The transformers backend has one random stream per call, so it gets all problems at once. In vLLM each request has its own seed,
    independent of the other requests of a call.
    """
    size = len(problems)
    if backend == "vllm":
        size = VLLM_CHUNK
    for start in range(0, len(problems), size):
        yield start, problems[start : start + size]


def load_generator(folder: Path, thinking: str, backend: str, base: Path | None = None) -> Generator:
    """Return a generator of the study's backend for a model folder.

    base: folder of the model before training, for the intervention `force`. Raise Damaged if a folder differs from its file list, and
    ValueError for an unknown backend.
    """
    for one in filter(None, (folder, base)):
        check_model_folder(one)
    # jobs.fingerprint counts the vllm branch only in studies with that backend, and recognises it by this condition
    if backend == "vllm":
        from selfdistill.generation.vllm_backend import VllmGenerator

        return VllmGenerator.load(folder, thinking)
    if backend == "transformers":
        from selfdistill.generation.transformers_backend import TransformersGenerator

        return TransformersGenerator.load(folder, thinking, base=base)
    raise ValueError(f"unknown generation backend {backend!r}; allowed: {', '.join(BACKENDS)}")
