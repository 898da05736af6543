"""Watch doubt while a model trains: length, epistemic words and forks of every batch of rollouts, and an early alarm for collapse.

The monitor works with TRL's `GRPOTrainer` and `SDPOTrainer` and with the trainers of this package. Of TRL it uses public interfaces only:
completions come with the call of a reward function (`EpistemicMonitor.watch`), the rows without a demonstration with the callback
of `SDPOTrainer`. Measures go to the trainer's log under `epistemic/`.
"""

import functools
import inspect
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from selfdistill.grading.epistemic import count_substring, repeated_ngrams

logger = logging.getLogger(__name__)

PREFIX = "epistemic/"
"""Before the name of every logged measure."""
WITHOUT = "without_demonstration"
ALARM = "alarm"
FORK = r"\b(?:wait|alternatively|actually)\b"
"""Marks of a fork in free text: the model leaves what it has just written and tries anew."""


@dataclass(frozen=True)
class CollapseRule:
    """What counts as collapse: epistemic words per response and length both far below those of the first steps.

    Words count per response: where words and length fall by the same factor, the words per 1,000 tokens stay.

    warmup: first steps, whose means are the reference; window: number of steps in a row for which both must hold; words, length: the
    largest shares of the reference that count. Raise ValueError for a value out of range.
    """

    warmup: int = 5
    window: int = 3
    words: float = 0.5
    length: float = 0.7

    def __post_init__(self) -> None:
        if self.warmup < 1 or self.window < 1:
            raise ValueError(f"warmup ({self.warmup}) and window ({self.window}) must be at least 1")
        if not (0 < self.words < 1 and 0 < self.length < 1):
            raise ValueError(f"words ({self.words}) and length ({self.length}) must lie between 0 and 1")

    def holds(self, words: Sequence[float], lengths: Sequence[float]) -> bool:
        """Return whether the last steps are a collapse.

        words: epistemic words per response, lengths: tokens per response, one value per step from the first one on.
        """
        if len(words) < self.warmup + self.window:
            return False
        bounds = self.words * fmean(words[: self.warmup]), self.length * fmean(lengths[: self.warmup])
        last = zip(words[-self.window :], lengths[-self.window :], strict=True)
        return all(count < bounds[0] and length < bounds[1] for count, length in last)


class Measures(NamedTuple):
    """What is measured of one response: tokens, epistemic words (substring count), forks, share of repeated 4-grams."""

    length: float
    words: float
    forks: float
    repetition: float


class EpistemicMonitor(TrainerCallback):
    """Log how long the rollouts of a step are and how much doubt they express; warn when both collapse.

    Pass it among the trainer's `callbacks`, and one reward function through `watch`. Logged per step, means over the responses of all
    processes: `length` (tokens), `words` (epistemic words per response), `per_1000_tokens`, `forks` (per response), `repetition`
    (share of 4-grams that occurred before in the response), `without_demonstration` (share, SDPO only), `alarm` (0 or 1).

    rule: of the alarm. stop: end the training at an alarm. fork: regular expression of a fork, searched in lower case; for traces
    with a fixed form, such as a failed check followed by a new try, give their own. `history` holds one row per step that drew
    rollouts.
    """

    def __init__(self, rule: CollapseRule | None = None, *, stop: bool = False, fork: str = FORK) -> None:
        self.rule, self.stop, self._fork = rule or CollapseRule(), stop, re.compile(fork)
        self.history: list[dict[str, float]] = []
        self._responses: list[Measures] = []
        self._demonstrated: list[bool] = []
        self._watching = self._training = False
        self._logged = 0

    def watch(self, reward: Callable[..., list[float | None]]) -> Callable[..., list[float | None]]:
        """Return a reward function that also shows its completions to the monitor.

        Raise TypeError for a reward model or coroutine, ValueError for a second function: both see the same completions.
        """
        if not callable(reward) or isinstance(reward, torch.nn.Module) or inspect.iscoroutinefunction(reward):
            raise TypeError(f"`watch` needs a plain reward function, not {reward!r}")
        if self._watching:
            raise ValueError("the monitor watches a reward function already; one is enough")
        self._watching = True

        @functools.wraps(reward, updated=())
        def watched(*, completions: list, completion_ids: list[list[int]], **columns: Any) -> list:
            scores = reward(completions=completions, completion_ids=completion_ids, **columns)
            if self._training:
                self.observe(completions, completion_ids, columns["trainer_state"].global_step + 1)
            return scores

        return watched

    def observe(self, completions: list, completion_ids: list[list[int]], step: int) -> None:
        """Add rollouts to the row of a step in `history`; a step may draw several batches of them.

        completions: texts or conversations of this process; completion_ids: their tokens; step: from 1 on.
        """
        own = [
            self.measure(text_of(one), len(ids)) for one, ids in zip(completions, completion_ids, strict=True)
        ]
        if not self.history or self.history[-1]["step"] != step:
            self.history.append({"step": step, ALARM: 0.0})
            self._responses, self._demonstrated = [], []
        self._responses += gather_object(own)
        means = dict(zip(Measures._fields, map(fmean, zip(*self._responses, strict=True)), strict=True))
        per_1000_tokens = 1000 * means["words"] / max(means["length"], 1)
        self.history[-1] |= {**means, "per_1000_tokens": per_1000_tokens}

    def measure(self, text: str, tokens: int) -> Measures:
        """Return the measures of one response."""
        forks = len(self._fork.findall(text.lower()))
        return Measures(tokens, sum(count_substring(text).values()), forks, repeated_ngrams(text))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Take up the history of a resumed training from its log, a row per log; raise ValueError if no reward function is watched."""
        if not self._watching:
            raise ValueError("the monitor sees no completions: pass a reward function through `watch`")
        rows = [row for row in state.log_history if PREFIX + ALARM in row]
        self.history = [
            {name.removeprefix(PREFIX): row[name] for name in row if name.startswith(PREFIX)}
            | {"step": row["step"]}
            for row in rows
        ]
        self._logged = len(self.history)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Rollouts that follow are those of training, not of an evaluation."""
        self._training = True

    def on_self_distillation_batch_prepared(self, *, self_distillation_mask: torch.Tensor, **_: Any) -> None:
        """Add the share of rollouts without a demonstration; SDPOTrainer calls this. self_distillation_mask: (rows,)."""
        if self._training:
            self._demonstrated += gather_object([bool(one) for one in self_distillation_mask.tolist()])
            self.history[-1][WITHOUT] = 1 - fmean(self._demonstrated)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Judge the step; warn at the first alarm, and end the training at an alarm if that is asked for."""
        self._training = False
        if not self.history or self.history[-1]["step"] != state.global_step:
            return control  # its rollouts are those of an earlier step
        words, lengths = ([row[name] for row in self.history] for name in ("words", "length"))
        if self.rule.holds(words, lengths):
            if state.is_world_process_zero and not any(row[ALARM] for row in self.history):
                start = [fmean(values[: self.rule.warmup]) for values in (words, lengths)]
                logger.warning(
                    "step %d: collapse: %.2f epistemic words and %.1f tokens per response, after %.2f and %.1f at the start",
                    state.global_step, words[-1], lengths[-1], *start,
                )  # fmt: skip
            self.history[-1][ALARM] = 1.0
            control.should_training_stop |= self.stop
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float],
        **_: Any,
    ) -> None:
        """Add the means over the steps since the last log to the log, under `epistemic/`; the alarm is 1 if one of them has it."""
        rows = self.history[self._logged :]
        if not rows or any(name.startswith("eval_") for name in logs):
            return
        self._logged = len(self.history)
        names = [name for name in rows[-1] if name != "step"]
        means = {PREFIX + name: fmean(row[name] for row in rows) for name in names}
        means[PREFIX + ALARM] = max(row[ALARM] for row in rows)
        logs |= means
        state.log_history[-1].update(means)

    def put_first(self, trainer: Any) -> None:
        """Call the monitor before the trainer's other callbacks, so that W&B and TensorBoard, which come first, log its measures too."""
        handler = trainer.callback_handler
        handler.callbacks.insert(0, handler.pop_callback(self))


def text_of(completion: str | list[dict[str, str]]) -> str:
    """Return the text of a completion: itself, or what the messages of a conversation say."""
    if isinstance(completion, str):
        return completion
    return "\n".join(message.get("content") or "" for message in completion)
