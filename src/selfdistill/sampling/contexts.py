r"""Section 3: the same problems answered under four contexts of growing information (equations 2 to 5, Table 1).

Authors' procedure (paper.md 4.1): draw 8 unguided responses a problem in file order, keep problems solved 1 to 4 times until enough are
kept; condition on the first correct response (solution), on it without its thinking (answer-only), and on the first correct response
of the solution-conditioned round (regeneration; the first one where none is correct).

The score of the unguided row is fixed by that selection; it is not a finding.
"""

import logging
from collections.abc import Callable, Sequence

import pandas as pd

from selfdistill.generation.protocol import Generator, Sampling
from selfdistill.grading.graders import Grader
from selfdistill.models.prompts import section_3_user_turn, strip_thinking
from selfdistill.problems.problem import Problem
from selfdistill.records.parts import NOT_KEPT, Parts
from selfdistill.sampling.evaluation import response_frame
from selfdistill.seeds import derive_seed

logger = logging.getLogger(__name__)

CONTEXTS = ("unguided", "answer-only", "regeneration", "solution")


class TooFewProblems(RuntimeError):
    """The pool did not hold enough problems with the asked solve rate."""


def run_section_3(
    generator: Generator,
    template: str,
    problems: Sequence[Problem],
    settings,
    sampling: Sampling,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    parts: Parts = NOT_KEPT,
) -> pd.DataFrame:
    """Samples of the four contexts, column `context` first; the same problems in each.

    settings: study.Section3Settings (problems, samples, solve_rate, batch). parts: batches that are finished are taken from there.
    Raises TooFewProblems, with the distribution of solve counts, if the pool runs out.
    """
    with Grader() as grader:

        def answer(items: Sequence[Problem], context: str, turns: Sequence[str] | None) -> pd.DataFrame:
            stream = derive_seed(seed, "section-3", context, items[0].problem_id)
            frame = parts.get(
                f"{context}/{stream}",
                lambda: response_frame(
                    generator, items, template, settings.samples, sampling, stream, grader, turns
                ),
            )
            logger.info(
                "%s: %d problems, score %.3f, %.1f tokens",
                context,
                len(items),
                frame["correct"].mean(),
                frame["response_tokens"].mean(),
            )
            return frame

        unguided, kept = select_problems(problems, settings, lambda items: answer(items, "unguided", None))
        progress(1, 4)
        first_correct = _first(unguided[unguided["correct"]])
        frames = {"unguided": unguided}
        stripped = {key: strip_thinking(text, template) for key, text in first_correct.items()}
        frames["answer-only"] = answer(kept, "answer-only", _turns(kept, stripped))
        progress(2, 4)
        frames["solution"] = answer(kept, "solution", _turns(kept, first_correct))
        progress(3, 4)
        regenerated = _first(frames["solution"]) | _first(frames["solution"][frames["solution"]["correct"]])
        frames["regeneration"] = answer(kept, "regeneration", _turns(kept, regenerated))
        progress(4, 4)
    return pd.concat([frames[c].assign(context=c) for c in CONTEXTS], ignore_index=True)


def select_problems(
    problems: Sequence[Problem], settings, answer: Callable[[Sequence[Problem]], pd.DataFrame]
) -> tuple[pd.DataFrame, list[Problem]]:
    """Go through the pool in order, in batches, until `settings.problems` have a solve count within `settings.solve_rate`."""
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
        f"section_3: {len(kept)} of {settings.problems} problems have {low} to {high} correct of {settings.samples} responses; "
        f"a pool of {len(problems)} was searched (solve count: problems = {histogram}). Raise section_3.pool in the study file."
    )


def _first(frame: pd.DataFrame) -> dict[str, str]:
    """The first response of each problem in a frame."""
    return frame.drop_duplicates("problem_id").set_index("problem_id")["response"].to_dict()


def _turns(problems: Sequence[Problem], solutions: dict[str, str]) -> list[str]:
    return [section_3_user_turn(p.question, solutions[p.problem_id]) for p in problems]
