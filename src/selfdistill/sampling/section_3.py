r"""Section 3: the same problems answered under contexts of increasing information (equations 2 to 5, Table 1).

Authors' procedure (paper.md 4.1): draw 8 unguided responses per problem, in file order, and keep problems that are solved 1 to 4
times until there are enough. Then condition on the first correct response (solution), on it without its thinking (answer-only), and
on the first correct response of the solution-conditioned round (regeneration; its first response if none is correct).

This selection determines the score of the unguided row; it is not a finding.
"""

import logging
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from selfdistill.generation.protocol import Generator, Sampling
from selfdistill.grading.graders import Grader
from selfdistill.models.prompts import section_3_user_turn, strip_thinking
from selfdistill.problems.hints import half, hinted_answer, parity
from selfdistill.problems.problem import Problem
from selfdistill.records.parts import NOT_KEPT, Parts
from selfdistill.records.schemas import FAILED_OUTCOMES
from selfdistill.sampling.evaluation import response_frame
from selfdistill.seeds import derive_seed
from selfdistill.study.sampling import Section3Settings, Selection
from selfdistill.vocabulary.contexts import CONTEXTS, PAPER_CONTEXTS

logger = logging.getLogger(__name__)


class TooFewProblems(RuntimeError):
    """The pool has too few problems with the requested solve rate."""


@dataclass
class Rounds:
    """The rounds of section 3: frames of samples by context, generated on first access.

    answer: (problems, context, user turns) -> samples; problems: the kept problems; frames: the finished rounds.
    """

    answer: Callable[[Sequence[Problem], str, Sequence[str] | None], pd.DataFrame]
    template: str
    problems: list[Problem] = field(default_factory=list)
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)

    def __getitem__(self, context: str) -> pd.DataFrame:
        """Return the samples of a context."""
        if context not in self.frames:
            self.frames[context] = self.answer(self.problems, context, self.turns(context))
        return self.frames[context]

    def turns(self, context: str) -> list[str]:
        """Return the user turns under a context that shows something, in the order of the problems."""
        shown = pkgutil.resolve_name(CONTEXTS[context].section_3)(self)
        own = CONTEXTS[context].turn
        turn = pkgutil.resolve_name(own) if own else section_3_user_turn
        return [turn(p.question, shown[p.problem_id]) for p in self.problems]


Shown = dict[str, str]
"""Problem id -> what its prompt shows as the solution."""


def nothing(rounds: Rounds) -> Shown:
    """Raise ValueError: c = ∅ shows nothing, and its round, which selects the problems, exists from the start."""
    raise ValueError("the unguided round must come first: it selects the problems of the others")


def first_correct(rounds: Rounds) -> Shown:
    """Return c = s: the first correct unguided response."""
    unguided = rounds["unguided"]
    return first_responses(unguided[unguided["correct"]])


def first_correct_answer(rounds: Rounds) -> Shown:
    r"""Return c = s\think: the first correct unguided response without its thinking."""
    return {key: strip_thinking(text, rounds.template) for key, text in first_correct(rounds).items()}


def first_regenerated(rounds: Rounds) -> Shown:
    """Return c = ỹ: the first correct response of the solution-guided round, or its first response if none is correct."""
    guided = rounds["solution"]
    return first_responses(guided) | first_responses(guided[guided["correct"]])


def first_wrong(rounds: Rounds) -> Shown:
    """Return a control: the first wrong unguided response, or the first without a verdict if none is wrong."""
    unguided = rounds["unguided"]
    failed = unguided[~unguided["correct"]]
    return first_responses(failed) | first_responses(failed[~failed["outcome"].isin(FAILED_OUTCOMES)])


def foreign_correct(rounds: Rounds) -> Shown:
    """Return a control: the first correct unguided response to the next problem (cyclically)."""
    own, ids = first_correct(rounds), [problem.problem_id for problem in rounds.problems]
    return {key: own[other] for key, other in zip(ids, ids[1:] + ids[:1], strict=True)}


def parity_hint(rounds: Rounds) -> Shown:
    """Return whether the answer is odd or even."""
    return {p.problem_id: parity(hinted_answer(p.question, p.answers)) for p in rounds.problems}


def half_hint(rounds: Rounds) -> Shown:
    """Return whether the answer is high or low."""
    return {p.problem_id: half(hinted_answer(p.question, p.answers)) for p in rounds.problems}


def first_responses(frame: pd.DataFrame) -> Shown:
    """Return the first response to each problem in a frame."""
    return frame.drop_duplicates("problem_id").set_index("problem_id")["response"].to_dict()


def run_section_3(
    generator: Generator,
    template: str,
    problems: Sequence[Problem],
    settings: Section3Settings,
    sampling: Sampling,
    seed: int,
    grader: str = "strict",
    progress: Callable[[int, int], None] = lambda done, total: None,
    parts: Parts = NOT_KEPT,
) -> pd.DataFrame:
    """Return the samples of all contexts of section 3 on the same problems, with `context` as last column.

    parts: finished batches are reused. Raise TooFewProblems, with the distribution of solve counts, if the pool is exhausted.
    """
    with Grader(grader) as own:

        def answer(items: Sequence[Problem], context: str, turns: Sequence[str] | None) -> pd.DataFrame:
            """Return the samples of problems under a context, reused if they are finished."""
            stream = derive_seed(seed, "section-3", context, items[0].problem_id)
            frame = parts.get(
                f"{context}/{stream}",
                lambda: response_frame(
                    generator, items, template, settings.samples, sampling, stream, own, turns
                ),
            )
            score, tokens = frame["correct"].mean(), frame["response_tokens"].mean()
            logger.info("%s: %d problems, score %.3f, %.1f tokens", context, len(items), score, tokens)
            return frame

        rounds = Rounds(answer, template)
        unguided, rounds.problems = select_problems(
            problems, settings, lambda items: answer(items, "unguided", None)
        )
        rounds.frames["unguided"] = unguided
        contexts = (*PAPER_CONTEXTS, *settings.further)
        for done, context in enumerate(contexts, 1):
            rounds[context]  # generates the round
            progress(done, len(contexts))
    return pd.concat([rounds[c].assign(context=c) for c in contexts], ignore_index=True)


def select_problems(
    problems: Sequence[Problem],
    settings: Selection,
    answer: Callable[[Sequence[Problem]], pd.DataFrame],
    key: str = "section_3.pool in the study file",
) -> tuple[pd.DataFrame, list[Problem]]:
    """Answer the pool in batches until `settings.problems` problems have a solve count within `settings.solve_rate`.

    Return the samples of the kept problems, and these problems. Raise TooFewProblems, with the key of the pool's size, if it is exhausted.
    """
    low, high = settings.solve_rate
    frames, kept, counts = [], [], []
    for start in range(0, len(problems), settings.batch):
        batch = problems[start : start + settings.batch]
        frame = answer(batch)
        solved = frame.groupby("problem_id")["correct"].sum()
        counts.append(solved)
        chosen = [p for p in batch if low <= solved[p.problem_id] <= high][: settings.problems - len(kept)]
        kept += chosen
        frames.append(frame[frame["problem_id"].isin({p.problem_id for p in chosen})])
        if len(kept) == settings.problems:
            return pd.concat(frames, ignore_index=True), kept
    histogram = pd.concat(counts).value_counts().sort_index().to_dict()
    raise TooFewProblems(
        f"only {len(kept)} of {settings.problems} problems have {low} to {high} correct of {settings.samples} responses "
        f"in a pool of {len(problems)} (solve count: problems = {histogram}); increase {key}"
    )
