"""Training data in the order it is used: which problem stands at which place of which step, and tokenised SFT
examples.

The schedule of problems is written out in full before training, from the run's seed alone. A resumed run
therefore sees the same problems, also beyond the first pass over the set (TRL's RepeatSampler carries a
generator that a resume would restart).
"""

import logging
from pathlib import Path

import torch
from datasets import Dataset

from selfdistill.models.prompts import prompt_ids
from selfdistill.records.files import read_frame
from selfdistill.seeds import derive_seed

logger = logging.getLogger(__name__)


def problem_schedule(problems: int, draws: int, seed: int) -> list[int]:
    """Indices of the problems in the order they are drawn: one seeded permutation of all of them after the
    other.

    With fewer problems than prompts in a step, problems recur within a step, each place with its own group of
    rollouts, as in the authors' `seen_1x64` (one problem 64 times).
    """
    order: list[int] = []
    passes = 0
    while len(order) < draws:
        generator = torch.Generator().manual_seed(derive_seed(seed, "problems", passes))
        order += torch.randperm(problems, generator=generator).tolist()
        passes += 1
    return order[:draws]


def rollout_dataset(
    data: Path,
    tokenizer,
    thinking: str,
    *,
    steps: int,
    prompts: int,
    max_tokens: int,
    seed: int,
    coverage: str = "full",
) -> Dataset:
    """`steps` x `prompts` rows in order of use: prompt (conversation), problem_id, answers.

    Problems with a prompt longer than max_tokens are left out of a whole set, and their number is logged. A
    coverage subset would then be smaller than its name says: ValueError.
    """
    frame = read_frame(data, columns=["problem_id", "question", "answers"])
    lengths = [len(ids) for ids in prompt_ids(tokenizer, frame["question"].tolist(), thinking)]
    short = [length <= max_tokens for length in lengths]
    if not any(short):
        raise ValueError(
            f"{data}: no problem has a prompt of at most {max_tokens} tokens (shortest: {min(lengths)})"
        )
    if not all(short) and coverage != "full":
        long = frame["problem_id"][[not fits for fits in short]].tolist()
        raise ValueError(
            f"{data}: {len(long)} of the {len(short)} problems of coverage {coverage} have a prompt longer than "
            f"max_prompt_tokens = {max_tokens}: {', '.join(long[:10])}"
        )
    if not all(short):
        logger.warning(
            "left out %d of %d problems: prompt longer than %d tokens",
            short.count(False),
            len(short),
            max_tokens,
        )
    frame = frame[short]
    if len(frame) < prompts:
        logger.info("%d problems for %d prompts a step: problems recur within a step", len(frame), prompts)
    drawn = frame.iloc[problem_schedule(len(frame), steps * prompts, seed)]
    return Dataset.from_dict(
        {
            "prompt": [[{"role": "user", "content": question}] for question in drawn["question"]],
            "problem_id": drawn["problem_id"].tolist(),
            "answers": [list(answers) for answers in drawn["answers"]],
        }
    )


def sft_dataset(data: Path, tokenizer, thinking: str, max_tokens: int | None) -> Dataset:
    """Rows of input_ids and labels: the prompt as generation sees it (no loss), then the response and
    end-of-sequence.

    Tokenising here, and not by TRL's chat template call over prompt and completion, keeps the tokens those of
    generation: no template may drop, double or re-space think tags. Examples longer than max_tokens are cut
    on the right, as LLaMA-Factory does.
    """
    frame = read_frame(data, columns=["question", "response"])
    if frame.empty:
        raise ValueError(f"{data}: holds no example")
    prompts = prompt_ids(tokenizer, frame["question"].tolist(), thinking)
    responses = tokenizer(frame["response"].tolist(), add_special_tokens=False)["input_ids"]
    rows: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    for prompt, response in zip(prompts, responses, strict=True):
        completion = [*response, tokenizer.eos_token_id]
        rows["input_ids"].append([*prompt, *completion][:max_tokens])
        rows["labels"].append([-100] * len(prompt) + completion)
        rows["labels"][-1] = rows["labels"][-1][:max_tokens]
    check_labels(data, rows["labels"], max_tokens)
    return Dataset.from_dict(rows)


def check_labels(data: Path, labels: list[list[int]], max_tokens: int | None) -> None:
    """Raise ValueError if no token of any example carries loss; warn, with the number, of examples without one."""
    empty = sum(all(label == -100 for label in row) for row in labels)
    if empty == len(labels):
        raise ValueError(
            f"{data}: sft.max_tokens = {max_tokens} cuts all {empty} examples within their prompts"
        )
    if empty:
        logger.warning(
            "%d of %d examples are cut at %d tokens, within their prompts: they teach nothing",
            empty,
            len(labels),
            max_tokens,
        )
