r"""Section 4: off-policy data sets from the section 3 generations, D_ug (unguided) and D_sg (solution-guided).

Both hold the model's own *correct* responses to the same problems, the same number for each problem, so that they differ only in
what the model saw when it wrote them. The prompt of every example is the bare question (authors' `make_sft_dataset`,
paper.md 4.2: one example a problem; `per_problem` allows more where problems are few).
"""

from collections.abc import Sequence

import pandas as pd

from selfdistill.problems.problem import Problem

COLUMNS = ["problem_id", "question", "response", "response_tokens", "epistemic_substring", "epistemic_word"]


class NoTrajectories(RuntimeError):
    """No problem has a correct, complete response under every asked context."""


def build_datasets(
    samples: pd.DataFrame,
    problems: Sequence[Problem],
    contexts: Sequence[str],
    per_problem: int,
    trajectories: int,
) -> dict[str, pd.DataFrame]:
    """One training set per context, row by row on the same problems.

    samples: section 3 samples (column `context`). Truncated responses are left out. At most `per_problem` examples a problem and
    `trajectories` in all. Raises NoTrajectories.
    """
    questions = pd.Series({p.problem_id: p.question for p in problems}, name="question")
    usable = samples[samples["correct"] & ~samples["truncated"]]
    sets = {c: usable[usable["context"] == c].copy() for c in contexts}
    counts = (
        pd.concat([s["problem_id"].value_counts() for s in sets.values()], axis=1, join="inner")
        .min(axis=1)
        .clip(upper=per_problem)
    )
    if counts.empty:
        raise NoTrajectories(f"no problem has a correct response under every context of {list(contexts)}")
    counts = counts.sort_index()
    counts = counts[counts.cumsum() <= trajectories]
    if counts.empty:
        raise NoTrajectories(f"trajectories = {trajectories} is below the examples of the first problem")
    built = {}
    for context, frame in sets.items():
        rank = frame.groupby("problem_id").cumcount()
        frame = frame[rank < frame["problem_id"].map(counts).fillna(0)].sort_values(
            ["problem_id", "sample_index"]
        )
        built[context] = frame.join(questions, on="problem_id")[COLUMNS].reset_index(drop=True)
    return built
