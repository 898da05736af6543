"""The teacher's prompts in SDPO: which demonstration a rollout gets, and what of it the teacher sees (paper.md 4.3).

The teacher is the policy conditioned on a context c beside the question. A context is a function from a rollout batch to
what the teacher sees for each rollout (None: no demonstration, the rollout stays out of the loss); vocabulary.contexts
names it.
"""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from trl.trainer.utils import pad

from selfdistill.models.prompts import prompt_ids, reprompt_user_turn, strip_thinking
from selfdistill.vocabulary.contexts import CONTEXTS, TEACHER


@dataclass(frozen=True)
class RolloutBatch:
    """The rollouts of this process, `group` neighbours sharing a question.

    text: gives the response of a rollout by its index; threshold: reward from which a rollout is a success; template: the
    model's family.
    """

    questions: Sequence[str]
    rewards: Sequence[float]
    text: Callable[[int], str]
    group: int
    threshold: float
    template: str

    def siblings(self) -> list[int | None]:
        """Return for each rollout its demonstration: the first success among the others of its group."""
        return sibling_demonstrations(self.rewards, self.group, self.threshold)

    def shown(self, part: Callable[[str], str]) -> dict[int, str]:
        """Return `part` of the response of every rollout that is somebody's demonstration."""
        used = sorted({source for source in self.siblings() if source is not None})
        return {source: part(self.text(source)) for source in used}


Shown = list[str | None]
"""What the teacher sees for each rollout, None without a demonstration."""


def sibling_solution(batch: RolloutBatch) -> Shown:
    """c = s: the sibling's response, thinking included."""
    return pick(batch.siblings(), batch.shown(str))


def sibling_answer(batch: RolloutBatch) -> Shown:
    r"""c = s\\think: the sibling's response without its thinking."""
    return pick(batch.siblings(), batch.shown(lambda text: strip_thinking(text, batch.template)))


def foreign_solution(batch: RolloutBatch) -> Shown:
    """Control: a successful response to another question of the step (same mode, no information about this question)."""
    return pick(*foreign_of_all(batch.siblings(), batch.questions, batch.shown(str)))


def pick(sources: Sequence[int | None], shown: Mapping[int, str]) -> Shown:
    """Return what each rollout is shown; None where it has no source or nothing of it remains."""
    return [shown[source] or None if source is not None else None for source in sources]


def context_function(context: str) -> Callable[[RolloutBatch], Shown]:
    """Return the function of a teacher's context; raise ValueError for another name."""
    if context not in TEACHER:
        raise ValueError(f"unknown teacher context {context!r}; allowed: {', '.join(TEACHER)}")
    return pkgutil.resolve_name(CONTEXTS[context].teacher)


def sibling_demonstrations(rewards: Sequence[float], group: int, threshold: float) -> list[int | None]:
    """Per rollout the index of the first successful *other* rollout of its group, None without one.

    rewards: all rollouts, `group` neighbours sharing a prompt; successful means reward >= threshold.
    """
    chosen: list[int | None] = []
    for start in range(0, len(rewards), group):
        wins = [i for i in range(start, start + group) if rewards[i] >= threshold][:2]
        for i in range(start, start + group):
            chosen.append(next((win for win in wins if win != i), None))
    return chosen


def foreign_demonstrations(siblings: Sequence[int | None], questions: Sequence[str]) -> list[int | None]:
    """For each rollout that has a sibling's demonstration, the next one (cyclically) that belongs to another
    question.

    Rollouts without a sibling's demonstration stay without one, so that `solution` and `other-solution` train
    on the same rows.
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
    """Foreign demonstrations of this process's rollouts among those of all processes, and what each shows.

    siblings, shown: as on this process; the result numbers the rollouts of all processes through.
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
    """Builds teacher inputs for a rollout batch; takes the place of TRL's `teacher_context_builder`.

    Groups lie whole on one process (asserted by `arguments`), so only `other-solution` has to look at those of
    the other processes.
    """

    def __init__(self, trainer, *, context: str, template: str, thinking: str) -> None:
        self.trainer, self.template, self.thinking = trainer, template, thinking
        self.context = context_function(context)
        self.last_metrics: dict[str, float] = {}

    def build(
        self, output: dict[str, Any], prompts: list, rewards: torch.Tensor, feedbacks: list | None = None
    ) -> dict[str, torch.Tensor]:
        """Teacher inputs, their mask, and which rollouts have a demonstration (1.0) or stay out of the loss
        (0.0).
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
        """Return the teacher's user turn for every rollout, None where it has no demonstration."""
        args = self.trainer.args

        def text(index: int) -> str:
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
        """Teacher prompts as token ids, cut on the right; a rollout without demonstration keeps the student's
        prompt.
        """
        texts = [question if turn is None else turn for question, turn in zip(questions, turns, strict=True)]
        distinct = list(dict.fromkeys(texts))
        encoded = prompt_ids(self.trainer._tokenizer, distinct, self.thinking)
        limit = self.trainer.args.max_reprompt_len
        rows = {text: ids[:limit] for text, ids in zip(distinct, encoded, strict=True)}
        return [rows[text] for text in texts]
