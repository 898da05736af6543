"""Section 4 with as many tokens: off-policy data sets cut to the tokens of the shortest.

`off_policy` makes sets of as many examples of the same problems, of which some have fewer tokens. A longer set gives up whole examples, so
that every response that is left ends as the model ended it: first the last response of each problem, so that problems go last. None is chosen
for its length.

The job is here and not in `run`, so that a change does not count for what generates.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from selfdistill.records.files import read_table, write_table
from selfdistill.records.schemas import off_policy_schema
from selfdistill.records.task import Facts, Task, job
from selfdistill.sampling.off_policy import NoTrajectories


def matched(sets: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the sets with at most the tokens of the shortest, which stays as it is; a cut set has less than one example fewer tokens.

    sets: name -> records.schemas.off_policy_schema. Rows stay in their order. Raise NoTrajectories if a set has no example left.
    """
    tokens = min(int(frame["response_tokens"].sum()) for frame in sets.values())
    cut = {name: cut_to(frame, tokens) for name, frame in sets.items()}
    if empty := [name for name, frame in cut.items() if frame.empty]:
        raise NoTrajectories(
            f"no example of {empty} has at most the {tokens} tokens of the shortest data set"
        )
    return cut


def cut_to(frame: pd.DataFrame, tokens: int) -> pd.DataFrame:
    """Return the examples up to a number of tokens: the first of every problem, then the second, and so on."""
    rank = frame.groupby("problem_id", sort=False).cumcount()
    order = rank.sort_values(kind="stable").index
    kept = frame.loc[order, "response_tokens"].cumsum() <= tokens
    return frame[kept.reindex(frame.index)].reset_index(drop=True)


@job()
def match_off_policy_data(task: Task) -> Facts:
    """Write the data sets of section 4 with as many tokens."""
    names = [Path(path).stem for path in task.output.data]
    sets = (read_table(path, off_policy_schema()) for path in task.input.data)
    cut = matched(dict(zip(names, sets, strict=True)))
    for name, path in zip(names, task.output.data, strict=True):
        write_table(path, cut[name], off_policy_schema())
    lengths = {name: int(frame["response_tokens"].sum()) for name, frame in cut.items()}
    return {"rows": {name: len(frame) for name, frame in cut.items()}, "response_tokens": lengths}
