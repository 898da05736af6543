"""The teacher's prompts in SDPO: the demonstration of each rollout, and which part of it the teacher sees (paper.md 4.3).

The teacher is the policy conditioned on the question and a context c. A context is a function from a rollout batch to the
text that the teacher sees for each rollout (None: no demonstration, so the rollout is not in the loss).
`vocabulary.contexts` names these functions.
"""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from trl.trainer.utils import pad

from selfdistill.models.prompts import prompt_ids, reprompt_user_turn, strip_thinking
from selfdistill.vocabulary.contexts import CONTEXTS, TEACHER

if TYPE_CHECKING:
    from trl.experimental.sdpo import SDPOTrainer


@dataclass(frozen=True)
class RolloutBatch:
    """The rollouts of this process, in groups of `group` neighbours with the same question.

    text: returns the response of a rollout by its index; threshold: smallest reward of a success; template: model family.
    """

    questions: Sequence[str]
    rewards: Sequence[float]
    text: Callable[[int], str]
    group: int
    threshold: float
    template: str

    def siblings(self) -> list[int | None]:
        """Return the demonstration (index) of each rollout: the first success among the others of its group."""
        return sibling_demonstrations(self.rewards, self.group, self.threshold)

    def shown(self, part: Callable[[str], str]) -> dict[int, str]:
        """Return `part(response)` of every rollout that is a demonstration, by its index."""
        used = sorted({source for source in self.siblings() if source is not None})
        return {source: part(self.text(source)) for source in used}


Shown = list[str | None]
"""Text that the teacher sees for each rollout; None without a demonstration."""


def sibling_solution(batch: RolloutBatch) -> Shown:
    """Return c = s: the sibling's response with its thinking."""
    return pick(batch.siblings(), batch.shown(str))


def sibling_answer(batch: RolloutBatch) -> Shown:
    r"""Return c = s\think: the sibling's response without its thinking."""
    return pick(batch.siblings(), batch.shown(lambda text: strip_thinking(text, batch.template)))


def foreign_solution(batch: RolloutBatch) -> Shown:
    """Return a control: a successful response to another question of the step (same style, no information on this one)."""
    return pick(*foreign_of_all(batch.siblings(), batch.questions, batch.shown(str)))


def pick(sources: Sequence[int | None], shown: Mapping[int, str]) -> Shown:
    """Return the text shown for each rollout; None if it has no source or the text is empty."""
    return [shown[source] or None if source is not None else None for source in sources]


def context_function(context: str) -> Callable[[RolloutBatch], Shown]:
    """Return the function of a teacher context. Raise ValueError for an unknown name."""
    if context not in TEACHER:
        raise ValueError(f"unknown teacher context {context!r}; allowed: {', '.join(TEACHER)}")
    return pkgutil.resolve_name(CONTEXTS[context].teacher)


def sibling_demonstrations(rewards: Sequence[float], group: int, threshold: float) -> list[int | None]:
    """Return for each rollout the index of the first successful *other* rollout of its group, or None.

    rewards: of all rollouts, in groups of `group` neighbours; successful: reward >= threshold.
    """
    chosen: list[int | None] = []
    for start in range(0, len(rewards), group):
        # two are enough: the first success demonstrates to all others, and the second to the first
        wins = [i for i in range(start, start + group) if rewards[i] >= threshold][:2]
        for i in range(start, start + group):
            chosen.append(next((win for win in wins if win != i), None))
    return chosen


def foreign_demonstrations(siblings: Sequence[int | None], questions: Sequence[str]) -> list[int | None]:
    """Return for each rollout with a sibling's demonstration the next demonstration (cyclically) of another question.

    Rollouts without a sibling's demonstration get none, so that `solution` and `other-solution` train on the same rows.
    """
    chosen: list[int | None] = []
    count = len(siblings)
    for i, own in enumerate(siblings):
        others = (siblings[(i + d) % count] for d in range(1, count)) if own is not None else ()
        chosen.append(next((o for o in others if o is not None and questions[o] != questions[i]), None))
    return chosen


def foreign_of_all(
    siblings: Sequence[int | None], questions: Sequence[str], shown: Mapping[int, str]
) -> tuple[list[int | None], dict[int, str]]:
    """Return (foreign demonstrations of this process's rollouts, text of each), chosen among those of all processes.

    siblings, shown: of this process, with its own indices; the result indexes the rollouts of all processes.
    """
    start = len(siblings) * PartialState().process_index
    own = [
        (None if s is None else s + start, question) for s, question in zip(siblings, questions, strict=True)
    ]
    everyone = gather_object(own)
    texts = gather_object([(source + start, text) for source, text in shown.items()])
    chosen = foreign_demonstrations(*map(list, zip(*everyone, strict=True)))
    return chosen[start : start + len(siblings)], dict(texts)


class TeacherContextBuilder:
    """Build teacher inputs for a rollout batch; replaces TRL's `teacher_context_builder`.

    Each group is on one process (checked by `arguments`), so only `other-solution` needs rollouts of other processes.
    """

    def __init__(self, trainer: "SDPOTrainer", *, context: str, template: str, thinking: str) -> None:
        self.trainer, self.template, self.thinking = trainer, template, thinking
        self.context = context_function(context)
        self.last_metrics: dict[str, float] = {}

    def build(
        self, output: dict[str, Any], prompts: list, rewards: torch.Tensor, feedbacks: list | None = None
    ) -> dict[str, torch.Tensor]:
        """Return the teacher's inputs, their mask, and `self_distillation_mask`, (rows,): 1.0 with a demonstration, else 0.0.

        prompts: conversations; rewards: (rows,). Inputs and mask: (rows, teacher prompt + completion).
        """
        questions = [prompt[-1]["content"] for prompt in prompts]
        turns = self.user_turns(questions, output, rewards.tolist())
        ids = self.token_ids(questions, turns)
        device = output["completion_ids"].device
        left = {"padding_side": "left"}
        prompt = pad(
            [torch.tensor(row) for row in ids], padding_value=self.trainer._tokenizer.pad_token_id, **left
        )
        mask = pad([torch.ones(len(row), dtype=torch.long) for row in ids], padding_value=0, **left)
        demonstrated = torch.tensor([turn is not None for turn in turns], dtype=torch.float32, device=device)
        fraction = float(demonstrated.mean())
        self.last_metrics = {"self_distillation/reprompt_sample_fraction": fraction}
        return {
            "teacher_input_ids": torch.cat([prompt.to(device), output["completion_ids"]], dim=1),
            "teacher_attention_mask": torch.cat([mask.to(device), output["completion_mask"]], dim=1),
            "self_distillation_mask": demonstrated,
        }

    def user_turns(
        self, questions: list[str], output: dict[str, Any], rewards: list[float]
    ) -> list[str | None]:
        """Return the teacher's user turn for every rollout, None without a demonstration."""
        args = self.trainer.args

        def text(index: int) -> str:
            """Return the response of a rollout."""
            length = int(output["raw_completion_lengths"][index])
            ids = output["completion_ids"][index, :length].tolist()
            return self.trainer._tokenizer.decode(ids, skip_special_tokens=True)

        batch = RolloutBatch(
            questions, rewards, text, args.num_generations, args.success_reward_threshold, self.template
        )
        return [
            reprompt_user_turn(question, shown) if shown else None
            for question, shown in zip(questions, self.context(batch), strict=True)
        ]

    def token_ids(self, questions: list[str], turns: list[str | None]) -> list[list[int]]:
        """Return teacher prompts as token ids, truncated on the right; without a demonstration, the student's question."""
        texts = [question if turn is None else turn for question, turn in zip(questions, turns, strict=True)]
        distinct = list(dict.fromkeys(texts))
        encoded = prompt_ids(self.trainer._tokenizer, distinct, self.thinking)
        limit = self.trainer.args.max_reprompt_len
        rows = {text: ids[:limit] for text, ids in zip(distinct, encoded, strict=True)}
        return [rows[text] for text in texts]
