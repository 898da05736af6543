"""Training data in the order of use: the problems of every step, and tokenized SFT examples.

The whole schedule of problems is computed before training, from the run's seed alone. A resumed run therefore sees the
same problems, also after the first pass over the data (a resume would restart the generator of TRL's RepeatSampler).
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from datasets import Dataset

from selfdistill.models.prompts import prompt_ids
from selfdistill.records.files import read_frame
from selfdistill.seeds import derive_seed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


def problem_schedule(problems: int, draws: int, seed: int, *, independent: bool = False) -> list[int]:
    """Return the indices of `draws` problems in order of use: seeded permutations of all problems, one after the other.

    With fewer problems than prompts per step, problems recur within a step; each occurrence has its own group of rollouts,
    as in the authors' `seen_1x64` (one problem 64 times). independent: draw from all problems every time.
    """
    if independent:
        generator = torch.Generator().manual_seed(derive_seed(seed, "problems", "independent"))
        return torch.randint(problems, (draws,), generator=generator).tolist()
    order: list[int] = []
    passes = 0
    while len(order) < draws:
        generator = torch.Generator().manual_seed(derive_seed(seed, "problems", passes))
        order += torch.randperm(problems, generator=generator).tolist()
        passes += 1
    return order[:draws]


def rollout_dataset(
    data: Path,
    tokenizer: "PreTrainedTokenizerBase",
    thinking: str,
    *,
    steps: int,
    prompts: int,
    max_tokens: int,
    seed: int,
    coverage: str = "full",
    independent: bool = False,
) -> Dataset:
    """Return `steps` x `prompts` rows in order of use: prompt (conversation), problem_id, answers.

    independent: see `problem_schedule`.

    Problems with a prompt longer than max_tokens are excluded, and their number is logged. Raise ValueError if none is left,
    or if a coverage subset has such a problem: it would be smaller than its name says.
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
            "excluded %d of %d problems: prompt longer than %d tokens",
            short.count(False),
            len(short),
            max_tokens,
        )
    frame = frame[short]
    if len(frame) < prompts:
        logger.info("%d problems for %d prompts per step: problems recur within a step", len(frame), prompts)
    drawn = frame.iloc[problem_schedule(len(frame), steps * prompts, seed, independent=independent)]
    return Dataset.from_dict(
        {
            "prompt": [[{"role": "user", "content": question}] for question in drawn["question"]],
            "problem_id": drawn["problem_id"].tolist(),
            "answers": [list(answers) for answers in drawn["answers"]],
        }
    )


def sft_dataset(
    data: Path, tokenizer: "PreTrainedTokenizerBase", thinking: str, max_tokens: int | None
) -> Dataset:
    """Return rows of input_ids and labels: the prompt of generation (no loss), the response, end-of-sequence.

    TRL would apply the chat template to prompt and completion, and a template may drop, repeat or re-space think tags;
    tokenizing here keeps the tokens of generation. Examples longer than max_tokens are truncated on the right, as in
    LLaMA-Factory.
    """
    frame = read_frame(data, columns=["question", "response"])
    if frame.empty:
        raise ValueError(f"{data}: must have at least one example")
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
    """Raise ValueError if no example has a token in the loss; warn about the number of such examples; labels: -100 for no loss."""
    empty = sum(all(label == -100 for label in row) for row in labels)
    if empty == len(labels):
        raise ValueError(
            f"{data}: sft.max_tokens = {max_tokens} truncates all {empty} examples within their prompts"
        )
    if empty:
        logger.warning(
            "%d of %d examples, truncated at %d tokens within their prompts, have no token in the loss",
            empty,
            len(labels),
            max_tokens,
        )
