r"""Section 4: off-policy data sets from the responses of section 3, D_ug (unguided) and D_sg (solution-guided).

Both contain the model's own *correct* responses to the same problems, with the same number per problem. They differ only in what
the model saw when it responded. The prompt of every example is the bare question (authors' `make_sft_dataset`, paper.md 4.2: one
example per problem; `per_problem` allows more if there are few problems).
"""

from collections.abc import Sequence

import pandas as pd

from selfdistill.problems.problem import Problem

COLUMNS = ["problem_id", "question", "response", "response_tokens", "epistemic_substring", "epistemic_word"]


class NoTrajectories(RuntimeError):
    """No problem has a correct, complete response under every requested context."""


def build_datasets(
    samples: pd.DataFrame,
    problems: Sequence[Problem],
    contexts: Sequence[str],
    per_problem: int,
    trajectories: int,
) -> dict[str, pd.DataFrame]:
    """Return one training set per context; row by row, all sets have the same problems.

    samples: samples of section 3 (column `context`). Truncated responses are left out. A set has at most `per_problem` examples
    per problem and `trajectories` in total. Raise NoTrajectories if no problem qualifies or fits.
    """
    questions = pd.Series({p.problem_id: p.question for p in problems}, name="question")
    usable = samples[samples["correct"] & ~samples["truncated"]]
    sets = {c: usable[usable["context"] == c].copy() for c in contexts}
    # examples per problem: what every context can give; problems that a context lacks drop out of the join
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
        raise NoTrajectories(
            f"off_policy.trajectories ({trajectories}) must be at least the number of examples of the first problem"
        )
    built = {}
    for context, frame in sets.items():
        rank = frame.groupby("problem_id").cumcount()
        frame = frame[rank < frame["problem_id"].map(counts).fillna(0)].sort_values(
            ["problem_id", "sample_index"]
        )
        built[context] = frame.join(questions, on="problem_id")[COLUMNS].reset_index(drop=True)
    return built
