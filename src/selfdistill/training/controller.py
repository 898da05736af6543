"""The controller of `rule: adaptive`: how rich a context the teacher sees, chosen at each step from what the rollouts show.

Levels are the contexts of the schedule, from the run's own (0) to the leanest. The rule, at each step, after the rollouts:

1. The reference is the mean epistemic rate (epistemic words per response) of the first `window` steps.
2. One level leaner, if the mean rate of the last `window` steps at this level is below `kept_rate` x reference, unless the
   coverage is narrow and mastered: fewer than `broad_from` distinct problems seen so far, and a mean score of at least
   `mastered_score` on those that recur (over the last `window` steps). A narrow coverage without a recurrence yet waits.
3. One level richer, if that mean rate is at least `recovered_rate` x reference.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from selfdistill.study.methods.schedule import ScheduleSettings

logger = logging.getLogger(__name__)


@dataclass
class Controller:
    """The rule's state. levels: number of contexts; history: level of every step; rates: since the last change of level.

    first: rates of the first steps; mastery: scores on recurring problems, one mean a step that has some.
    """

    settings: ScheduleSettings
    levels: int
    level: int = 0
    first: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    mastery: list[float] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    history: list[int] = field(default_factory=list)

    def choose(self, problems: Sequence[str], scores: Sequence[float], words: Sequence[int]) -> int:
        """Return the level of a step from its rollouts on all processes: problem ids, scores, and epistemic words."""
        window, known = self.settings.window, set(self.seen)
        recurring = [score for problem, score in zip(problems, scores, strict=True) if problem in known]
        if recurring:
            self.mastery = [*self.mastery, fmean(recurring)][-window:]
        self.seen += [problem for problem in dict.fromkeys(problems) if problem not in known]
        rate = fmean(words)
        if len(self.first) < window:
            self.first.append(rate)
        else:
            self.rates = [*self.rates, rate][-window:]
        self.move()
        self.history.append(self.level)
        return self.level

    def move(self) -> None:
        """Go one level leaner or richer, or stay."""
        settings = self.settings
        if len(self.rates) < settings.window:
            return
        rate, reference, before = fmean(self.rates), fmean(self.first), self.level
        recovered = settings.recovered_rate
        if rate < settings.kept_rate * reference and not self.narrow():
            self.level = min(self.level + 1, self.levels - 1)
        elif recovered is not None and rate >= recovered * reference:
            self.level = max(self.level - 1, 0)
        if self.level != before:
            self.rates = []
            text = (
                "step %d: %.2f epistemic words per response (first steps: %.2f), %d problems seen: level %d"
            )
            logger.info(text, len(self.history) + 1, rate, reference, len(self.seen), self.level)

    def narrow(self) -> bool:
        """Return whether the coverage is narrow and mastered, or narrow so far and without a recurrence."""
        mastered = not self.mastery or fmean(self.mastery) >= self.settings.mastered_score
        return len(self.seen) < self.settings.broad_from and mastered

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {name: value for name, value in asdict(self).items() if name not in ("settings", "levels")}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        vars(self).update(state)
