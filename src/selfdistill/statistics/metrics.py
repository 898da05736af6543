"""What the metrics are made of: columns of the samples, ratios, pass@k and maj@k.

A metric is `accuracy`, `pass@j` or `maj@j` (j: a number, or `k` for the smallest number of samples per problem in the
group), a ratio of sums in `RATIOS`, or any numeric column of the samples, such as `substring_{word}` and `word_{word}`.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from selfdistill.vocabulary.words import REPETITION

METRICS = (
    *("accuracy", "pass@k", "maj@k", "response_tokens", "thinking_tokens", "truncated"),
    *("epistemic_substring", "epistemic_word", "epistemic_per_1000_tokens"),
)
"""Default metrics."""
COLUMN_OF: dict[str, str] = {"accuracy": "correct"}
"""Metrics whose column in the samples has another name."""
RATIOS: dict[str, tuple[str, str, float]] = {
    "epistemic_per_1000_tokens": ("epistemic_substring", "response_tokens", 1000.0),
    "nats_per_token": ("nats", "tokens", 1.0),
}
"""Ratios of sums over all samples: numerator, denominator, factor."""
ANSWER = "extracted_answer"
_AT = re.compile(r"(pass|maj)@(k|[1-9][0-9]*)")


def at_k(metric: str, smallest: int) -> tuple[str, int] | None:
    """Return the kind (`pass` or `maj`) and k of a metric such as pass@k or maj@4; None for any other metric.

    smallest: smallest number of samples per problem, for which the letter k stands. Raise ValueError if the metric
    needs more samples.
    """
    match = _AT.fullmatch(metric)
    if not match:
        return None
    kind, k = match.group(1), smallest if match.group(2) == "k" else int(match.group(2))
    if k > smallest:
        raise ValueError(f"{metric} needs {k} samples per problem; a problem has {smallest}")
    return kind, k


def numeric_columns(metrics: Sequence[str]) -> list[str]:
    """Return the columns of the samples that are summed for the metrics."""
    needed: list[str] = []
    for metric in metrics:
        plain = "correct" if _AT.fullmatch(metric) else COLUMN_OF.get(metric, metric)
        needed += RATIOS[metric][:2] if metric in RATIOS else [plain]
    return list(dict.fromkeys(needed))


def needs_answers(metrics: Sequence[str]) -> bool:
    """Return whether a metric is a vote, which needs the extracted answers."""
    return any(metric.startswith("maj@") and _AT.fullmatch(metric) for metric in metrics)


def is_proportion(metric: str) -> bool:
    """Return whether a metric lies between 0 and 1."""
    return metric in ("accuracy", "truncated", REPETITION) or _AT.fullmatch(metric) is not None


def is_signed(metric: str) -> bool:
    """Return whether a metric may be below 0: a log-ratio (`statistics.richness`)."""
    return metric.startswith("nats")


def pass_at_k(correct: np.ndarray, samples: np.ndarray, k: int) -> np.ndarray:
    """Return the unbiased pass@k, 1 - C(n-c, k) / C(n, k), of problems with c `correct` among n `samples`.

    Source: Chen et al. 2021, eq. 1. Raise ValueError if a problem has fewer than k samples.
    """
    correct, samples = np.broadcast_arrays(np.asarray(correct), np.asarray(samples))
    if k < 1 or (samples < k).any():
        raise ValueError(f"pass@{k} needs {max(k, 1)} samples per problem; a problem has {samples.min()}")
    miss = np.ones(correct.shape)  # probability that none of k samples drawn without replacement is correct
    for drawn in range(k):
        miss *= np.clip(samples - correct - drawn, 0, None) / (samples - drawn)
    return 1.0 - miss


def majority_vote(ballots: np.ndarray, answers: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Return the expected correctness of the most frequent answer of every ballot, (ballots,), ties broken at random.

    All arguments are (samples,): `ballots` holds the number of each sample's ballot (from 0, without gaps), `answers`
    its text, `correct` its grade. Equal texts form one class, whose grade is the mean of its members' grades (they
    agree unless grading timed out); the result is the mean grade of the classes with the most votes. Samples without
    an answer (None, NaN or "") win only if no sample of the ballot has one.
    """
    codes, texts = pd.factorize(pd.Series(answers, dtype=object).fillna("").to_numpy())
    # a class is a pair (ballot, text), coded as one integer
    pairs, member = np.unique(np.asarray(ballots) * len(texts) + codes, return_inverse=True)
    ballot, code = np.divmod(pairs, len(texts))
    size = np.bincount(member)
    grade = np.bincount(member, weights=np.asarray(correct, float)) / size
    votes = np.where(texts[code] == "", 0, size)
    most = np.zeros(ballot[-1] + 1, dtype=votes.dtype)
    np.maximum.at(most, ballot, votes)
    tied = votes == most[ballot]
    return np.bincount(ballot[tied], weights=grade[tied]) / np.bincount(ballot[tied])


class Votes:
    """The answers of every cell (seed x problem of a group); each requested k is voted on once."""

    def __init__(self, cell: np.ndarray, samples: pd.DataFrame) -> None:
        order = np.lexsort((samples["sample_index"].to_numpy(), cell))
        self._cell, self._size = cell[order], np.bincount(cell)
        self._rank = np.arange(cell.size) - (np.cumsum(self._size) - self._size)[self._cell]
        self._answers = samples[ANSWER].to_numpy(object)[order]
        self._correct = samples["correct"].to_numpy(float)[order]
        self._known: dict[int, np.ndarray] = {}

    def majority_at(self, k: int) -> np.ndarray:
        """Return maj@k of every cell, (cells,); NaN for a cell with fewer than k samples.

        The n samples of a cell, in the order of their index, form floor(n / k) disjoint blocks of k samples. maj@k is
        the mean of the blocks' votes: the plain vote if n = k, an unbiased estimate if n > k.
        """
        if k not in self._known:
            blocks = self._size // k
            kept = self._rank < (blocks * k)[self._cell]
            first = np.cumsum(blocks) - blocks
            ballots = (first[self._cell] + self._rank // k)[kept]
            won = majority_vote(ballots, self._answers[kept], self._correct[kept]) if kept.any() else []
            total = np.bincount(np.repeat(np.arange(blocks.size), blocks), weights=won, minlength=blocks.size)
            with np.errstate(invalid="ignore"):
                self._known[k] = total / blocks
        return self._known[k]
