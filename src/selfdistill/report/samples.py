"""What the jobs behind the numbers read of the samples: the columns that they need, and few of the responses.

The paper's study holds tens of GB of responses. Only word frequencies and the report's examples need some, of a run's last step on one
benchmark; these are picked out of a file that is never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from selfdistill.records.files import read_table, read_table_batches, read_table_rows
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


def responses_of(paths: Iterable[str], benchmark: str, samples: int | None = None) -> pd.DataFrame:
    """Return the responses in several files of samples on one benchmark.

    samples: the first so many of each problem (None: all). Columns: run fields, step, benchmark, problem_id, sample_index, correct,
    response_tokens, response.
    """
    return joined(_responses_of(path, benchmark, samples) for path in paths)


def response_batches(path: str) -> Iterator[pd.DataFrame]:
    """Yield all responses of a file of samples, some rows at a time, with the columns of `responses_of`."""
    yield from read_table_batches(path, samples_schema(), (*_KEYS, "response"))


def _responses_of(path: str, benchmark: str, samples: int | None) -> pd.DataFrame:
    place = read_table(path, samples_schema(), ("benchmark", "sample_index"))
    chosen = place["benchmark"] == benchmark
    if samples is not None:
        chosen &= place["sample_index"] < samples
    return read_table_rows(path, samples_schema(), chosen.to_numpy(), (*_KEYS, "response"))
