"""The teacher's prompts in SDPO: which demonstration a rollout gets, and what of it the teacher sees
(paper.md 4.3).

The teacher is the policy conditioned on a context c beside the question: `solution` (c = s, the first
successful other rollout of the same prompt, thinking included), `answer-only` (c = s without its thinking),
and the control `other-solution` (a successful solution of another problem of the batch: same mode, no
information about this problem).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from trl.trainer.utils import pad

from selfdistill.models.prompts import prompt_ids, reprompt_user_turn, strip_thinking

CONTEXTS = ("solution", "answer-only", "other-solution")


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
        if context not in CONTEXTS:
            raise ValueError(f"unknown teacher context {context!r}; known: {', '.join(CONTEXTS)}")
        self.trainer, self.context, self.template, self.thinking = trainer, context, template, thinking
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
        """The teacher's user turn for every rollout, None where it has no demonstration."""
        args = self.trainer.args
        sources = sibling_demonstrations(rewards, args.num_generations, args.success_reward_threshold)
        used = sorted({source for source in sources if source is not None})
        shown = {source: self.shown_part(output, source) for source in used}
        if self.context == "other-solution":
            sources, shown = foreign_of_all(sources, questions, shown)
        return [
            reprompt_user_turn(question, shown[source]) if source is not None and shown[source] else None
            for question, source in zip(questions, sources, strict=True)
        ]

    def shown_part(self, output: dict[str, Any], source: int) -> str:
        """What the teacher sees of rollout `source`; empty if nothing remains without the thinking."""
        length = int(output["raw_completion_lengths"][source])
        ids = output["completion_ids"][source, :length].tolist()
        text = self.trainer._tokenizer.decode(ids, skip_special_tokens=True)
        return strip_thinking(text, self.template) if self.context == "answer-only" else text

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
