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

from selfdistill.models.instructions import CONCISE
from selfdistill.models.prompts import prompt_ids, reprompt_user_turn, strip_thinking
from selfdistill.problems.hints import half, hinted_answer, parity
from selfdistill.seeds import derive_seed
from selfdistill.vocabulary.contexts import CONTEXTS, TEACHER

if TYPE_CHECKING:
    from trl.experimental.sdpo import SDPOTrainer


@dataclass(frozen=True)
class RolloutBatch:
    """The rollouts of this process, in groups of `group` neighbours with the same question.

    text: returns the response of a rollout by its index; threshold: smallest reward of a success; template: model family;
    lengths: tokens of the responses; answers: right answers to each question; problems: ids; seed: of the step's draws; first:
    number of the first of these rollouts among those of all processes.
    """

    questions: Sequence[str]
    rewards: Sequence[float]
    text: Callable[[int], str]
    group: int
    threshold: float
    template: str
    lengths: Sequence[int] = ()
    answers: Sequence[Sequence[str]] = ()
    problems: Sequence[str] = ()
    seed: int = 0
    first: int = 0

    def siblings(self) -> list[int | None]:
        """Return the demonstration (index) of each rollout: the first success among the others of its group."""
        return sibling_demonstrations(self.rewards, self.group, self.threshold)

    def others(self, index: int, *, right: bool) -> list[int]:
        """Return the other rollouts of a rollout's group that are right, or wrong."""
        start = index - index % self.group
        group = (i for i in range(start, start + self.group) if i != index)
        return [i for i in group if (self.rewards[i] >= self.threshold) == right]

    def draw(self, index: int, count: int) -> int:
        """Return a number below `count` that is drawn for a rollout, the same on any number of processes."""
        return derive_seed(self.seed, "demonstration", self.first + index) % count

    def shown(
        self, part: Callable[[str], str], sources: Sequence[int | None] | None = None
    ) -> dict[int, str]:
        """Return `part(response)` of every rollout among `sources` (default: the siblings), by its index."""
        used = sorted({s for s in (self.siblings() if sources is None else sources) if s is not None})
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


def sibling_random(batch: RolloutBatch) -> Shown:
    """Return c = s of a success that is drawn from those of the group."""
    wins = [batch.others(i, right=True) for i in range(len(batch.rewards))]
    sources = [own[batch.draw(i, len(own))] if own else None for i, own in enumerate(wins)]
    return pick(sources, batch.shown(str, sources))


def sibling_shortest(batch: RolloutBatch) -> Shown:
    """Return c = s of the group's shortest success in tokens, the first of equals."""
    wins = (batch.others(i, right=True) for i in range(len(batch.rewards)))
    sources = [min(own, key=batch.lengths.__getitem__, default=None) for own in wins]
    return pick(sources, batch.shown(str, sources))


def failures(batch: RolloutBatch, number: int = 0) -> Shown:
    """Return for each rollout the failure `number` (from 0) among the others of its group, None if there are not as many."""
    wrong = (batch.others(i, right=False) for i in range(len(batch.rewards)))
    sources = [own[number] if number < len(own) else None for own in wrong]
    return pick(sources, batch.shown(str, sources))


def sibling_wrong(batch: RolloutBatch) -> Shown:
    """Return a control: the group's first failure (wrong, or without an answer), for rows with a right sibling; None where all
    others are right.
    """
    pairs = zip(batch.siblings(), failures(batch), strict=True)
    return [None if sibling is None else own for sibling, own in pairs]


def parity_hint(batch: RolloutBatch) -> Shown:
    """Return whether the answer is odd or even."""
    return hints(batch, parity)


def half_hint(batch: RolloutBatch) -> Shown:
    """Return whether the answer is high or low."""
    return hints(batch, half)


def concise(batch: RolloutBatch) -> Shown:
    """Return the request to be concise, for every rollout: it needs no right sibling."""
    return [CONCISE] * len(batch.questions)


def hints(batch: RolloutBatch, word: Callable[[int], str]) -> Shown:
    """Return `word(answer)` for rows with a right sibling. Raise ValueError for answers without hints."""
    problems = zip(batch.questions, batch.answers, strict=True)
    words = [word(hinted_answer(question, answers)) for question, answers in problems]
    return [None if sibling is None else own for sibling, own in zip(batch.siblings(), words, strict=True)]


def pick(sources: Sequence[int | None], shown: Mapping[int, str]) -> Shown:
    """Return the text shown for each rollout; None if it has no source or the text is empty."""
    return [shown[source] or None if source is not None else None for source in sources]


def context_function(context: str) -> Callable[[RolloutBatch], Shown]:
    """Return the function of a teacher context. Raise ValueError for an unknown name."""
    if context not in TEACHER:
        raise ValueError(f"unknown teacher context {context!r}; allowed: {', '.join(TEACHER)}")
    return pkgutil.resolve_name(CONTEXTS[context].teacher)


def user_turns(context: str, batch: RolloutBatch) -> list[str | None]:
    """Return the teacher's user turn for every rollout in a context, None without a demonstration."""
    own = CONTEXTS[context].turn
    turn = pkgutil.resolve_name(own) if own else reprompt_user_turn
    return written(turn, batch.questions, context_function(context)(batch))


def written(turn: Callable[[str, str], str], questions: Sequence[str], shown: Shown) -> list[str | None]:
    """Return the user turn `turn(question, text)` of every rollout, None without a text."""
    return [turn(question, text) if text else None for question, text in zip(questions, shown, strict=True)]


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
        context_function(context)  # refuses an unknown name before the first step
        self.context = context
        self.last_metrics: dict[str, float] = {}

    def build(
        self, output: dict[str, Any], prompts: list, rewards: torch.Tensor, feedbacks: list | None = None
    ) -> dict[str, torch.Tensor]:
        """Return the teacher's inputs, their mask, and `self_distillation_mask`, (rows,): 1.0 with a demonstration, else 0.0.

        prompts: conversations; rewards: (rows,); feedbacks: the problems (`answers`, `problem_id`).
        Inputs and mask: (rows, teacher prompt + completion).
        """
        questions = [prompt[-1]["content"] for prompt in prompts]
        turns = self.user_turns(self.rollouts(questions, output, rewards.tolist(), feedbacks or []))
        inputs = self.inputs(questions, turns, output)
        fraction = float(inputs["self_distillation_mask"].mean())
        self.last_metrics = {"self_distillation/reprompt_sample_fraction": fraction}
        return inputs

    def inputs(
        self, questions: list[str], turns: list[str | None], output: dict[str, Any]
    ) -> dict[str, torch.Tensor]:
        """Return what `build` returns, for these user turns."""
        ids = self.token_ids(questions, turns)
        device = output["completion_ids"].device
        left = {"padding_side": "left"}
        prompt = pad(
            [torch.tensor(row) for row in ids], padding_value=self.trainer._tokenizer.pad_token_id, **left
        )
        mask = pad([torch.ones(len(row), dtype=torch.long) for row in ids], padding_value=0, **left)
        demonstrated = torch.tensor([turn is not None for turn in turns], dtype=torch.float32, device=device)
        return {
            "teacher_input_ids": torch.cat([prompt.to(device), output["completion_ids"]], dim=1),
            "teacher_attention_mask": torch.cat([mask.to(device), output["completion_mask"]], dim=1),
            "self_distillation_mask": demonstrated,
        }

    def user_turns(self, batch: RolloutBatch) -> list[str | None]:
        """Return the teacher's user turn for every rollout, None without a demonstration."""
        return user_turns(self.context, batch)

    def rollouts(
        self, questions: list[str], output: dict[str, Any], rewards: list[float], problems: list[dict]
    ) -> RolloutBatch:
        """Return the rollouts as contexts see them."""
        trainer, args = self.trainer, self.trainer.args

        def text(index: int) -> str:
            """Return the response of a rollout."""
            length = int(output["raw_completion_lengths"][index])
            ids = output["completion_ids"][index, :length].tolist()
            return self.trainer._tokenizer.decode(ids, skip_special_tokens=True)

        return RolloutBatch(
            questions,
            rewards,
            text,
            args.num_generations,
            args.success_reward_threshold,
            self.template,
            lengths=output["raw_completion_lengths"].tolist(),
            answers=[problem["answers"] for problem in problems],
            problems=[problem["problem_id"] for problem in problems],
            seed=derive_seed(trainer.run_seed, "teacher", trainer.rollout_step),
            first=len(questions) * PartialState().process_index,
        )

    def token_ids(self, questions: list[str], turns: list[str | None]) -> list[list[int]]:
        """Return teacher prompts as token ids, truncated on the right; without a demonstration, the student's question."""
        texts = [question if turn is None else turn for question, turn in zip(questions, turns, strict=True)]
        distinct = list(dict.fromkeys(texts))
        encoded = prompt_ids(self.trainer._tokenizer, distinct, self.thinking)
        limit = self.trainer.args.max_reprompt_len
        rows = {text: ids[:limit] for text, ids in zip(distinct, encoded, strict=True)}
        return [rows[text] for text in texts]
