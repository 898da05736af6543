"""What the jobs behind the numbers read of the samples: the columns that they need, and few of the responses.

A file of the paper's study holds 4 GB of responses. Only word frequencies and the report's examples need some, of a run's last step on one
benchmark; these are picked out of a file that is never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from selfdistill.records.files import read_table, read_table_rows
from selfdistill.records.schemas import samples_schema
from selfdistill.vocabulary.runs import RUN_FIELDS
from selfdistill.vocabulary.words import SUBSTRING_COLUMNS

_KEYS = (*RUN_FIELDS, "step", "benchmark", "problem_id", "sample_index", "correct", "response_tokens")
CLAIM_COLUMNS = (*_KEYS, *SUBSTRING_COLUMNS, "epistemic_substring", "epistemic_word")
"""What the claims are judged from."""
NUMBER_COLUMNS = (*CLAIM_COLUMNS, "thinking_tokens", "truncated", "outcome", "extracted_answer")
"""What all numbers are estimated from."""


def joined(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return frames in one, those without rows left out; an empty frame for none."""
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


def last_responses(paths: Iterable[str], benchmark: str, samples: int | None = None) -> pd.DataFrame:
    """Return the responses of several runs at their last step on one benchmark.

    paths: files of samples, one per run and seed; samples: the first so many of each problem (None: all). Columns: run fields, step, benchmark,
    problem_id, sample_index, correct, response_tokens, response.
    """
    return joined(_last_responses(path, benchmark, samples) for path in paths)


def _last_responses(path: str, benchmark: str, samples: int | None) -> pd.DataFrame:
    place = read_table(path, samples_schema(), ("step", "benchmark", "sample_index"))
    chosen = place["benchmark"] == benchmark
    if samples is not None:
        chosen &= place["sample_index"] < samples
    chosen &= place["step"] == place.loc[chosen, "step"].max()
    return read_table_rows(path, samples_schema(), chosen.to_numpy(), (*_KEYS, "response"))
