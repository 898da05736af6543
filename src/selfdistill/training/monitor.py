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
    """What counts as collapse: epistemic words per 1,000 tokens and length both far below those of the first steps.

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

        words: epistemic words per 1,000 tokens, lengths: tokens per response, one value per step from the first one on.
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

    Pass it among the trainer's `callbacks`, and the reward function through `watch`. Logged per step, means over the responses of all
    processes: `length` (tokens), `words` (epistemic words per response), `per_1000_tokens`, `forks` (per response), `repetition`
    (share of 4-grams that occurred before in the response), `without_demonstration` (share, SDPO only), `alarm` (0 or 1).

    rule: of the alarm. stop: end the training at an alarm. fork: regular expression of a fork, searched in lower case; for traces
    with a fixed form, such as a failed check followed by a new try, give their own. `history` holds one row per step.
    """

    def __init__(self, rule: CollapseRule | None = None, *, stop: bool = False, fork: str = FORK) -> None:
        self.rule, self.stop, self._fork = rule or CollapseRule(), stop, re.compile(fork)
        self.history: list[dict[str, float]] = []
        self._training = False
        self._logged = 0

    def watch(self, reward: Callable[..., list[float | None]]) -> Callable[..., list[float | None]]:
        """Return a reward function that also shows its completions to the monitor. Raise TypeError for a reward model or coroutine."""
        if not callable(reward) or isinstance(reward, torch.nn.Module) or inspect.iscoroutinefunction(reward):
            raise TypeError(f"`watch` needs a plain reward function, not {reward!r}")

        @functools.wraps(reward, updated=())
        def watched(*, completions: list, completion_ids: list[list[int]], **columns: Any) -> list:
            scores = reward(completions=completions, completion_ids=completion_ids, **columns)
            if self._training:
                self.observe(completions, completion_ids, columns["trainer_state"])
            return scores

        return watched

    def observe(self, completions: list, completion_ids: list[list[int]], state: TrainerState) -> None:
        """Add the rollouts of a step to `history`.

        completions: texts or conversations of this process; completion_ids: their tokens.
        """
        rows = gather_object(
            [
                self.measure(text_of(one), len(ids))
                for one, ids in zip(completions, completion_ids, strict=True)
            ]
        )
        means = dict(zip(Measures._fields, map(fmean, zip(*rows, strict=True)), strict=True))
        means["per_1000_tokens"] = 1000 * means["words"] / max(means["length"], 1e-9)
        self.history.append({"step": state.global_step + 1, **means})
        words, lengths = ([row[name] for row in self.history] for name in ("per_1000_tokens", "length"))
        self.history[-1][ALARM] = float(self.rule.holds(words, lengths))
        if self.history[-1][ALARM] and not any(row[ALARM] for row in self.history[:-1]):
            logger.warning(
                "step %d: collapse: %.2f epistemic words per 1,000 tokens and %.1f tokens per response, after %.2f and %.1f at the start",
                state.global_step + 1, words[-1], lengths[-1], fmean(words[: self.rule.warmup]), fmean(lengths[: self.rule.warmup]),
            )  # fmt: skip

    def measure(self, text: str, tokens: int) -> Measures:
        """Return the measures of one response."""
        forks = len(self._fork.findall(text.lower()))
        return Measures(tokens, sum(count_substring(text).values()), forks, repeated_ngrams(text))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Take up the history of a resumed training from its log, where every step was logged."""
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
            shown = gather_object([bool(one) for one in self_distillation_mask.tolist()])
            self.history[-1][WITHOUT] = 1 - fmean(shown)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """End the training at an alarm if that is asked for."""
        self._training = False
        if self.stop and self.history and self.history[-1][ALARM]:
            control.should_training_stop = True
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float],
        **_: Any,
    ) -> None:
        """Add the means over the steps since the last log to the log, under `epistemic/`."""
        rows = self.history[self._logged :]
        if not rows or any(name.startswith("eval_") for name in logs):
            return
        self._logged = len(self.history)
        names = [name for name in rows[-1] if name != "step"]
        means = {PREFIX + name: fmean(row[name] for row in rows) for name in names}
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
