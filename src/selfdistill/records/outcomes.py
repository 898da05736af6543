"""Shares of what grading came to (`schemas.OUTCOMES`), for captions, the report, notebooks and `make status`."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from selfdistill.records.schemas import OUTCOMES

if TYPE_CHECKING:
    import pandas

BOUNDS = {"no_answer": 0.5, "too_long": 0.01, "timeout": 0.01, "error": 0.05}
"""Largest share of an outcome that is no reason for a warning. A base that seldom ends its response has many without an answer."""


def outcome_shares(outcomes: "pandas.Series", truncated: "pandas.Series | None" = None) -> dict[str, float]:
    """Return the share of each outcome (all of OUTCOMES) in a column of samples or rollouts, and of `truncated` where given."""
    counts = outcomes.value_counts(normalize=True)
    shares = {name: float(counts.get(name, 0.0)) for name in OUTCOMES}
    return shares if truncated is None else shares | {"truncated": float(truncated.mean())}


def outcome_sentence(shares: Mapping[str, float]) -> str:
    """Return the shares that are no verdict as one sentence for a caption.

    >>> outcome_sentence({"correct": 0.9, "no_answer": 0.08, "timeout": 0.0, "truncated": 0.1})
    'Of all responses 8.0 % without an answer, 10.0 % truncated; none of the other outcomes of grading.'
    """
    words = {
        "no_answer": "without an answer",
        "too_long": "too long to grade",
        "timeout": "timed out in grading",
    }
    words |= {"error": "unreadable", "truncated": "truncated"}
    seen = [f"{100 * shares[name]:.1f} % {text}" for name, text in words.items() if shares.get(name)]
    rest = "; none of the other outcomes of grading." if len(seen) < len(words) else "."
    return f"Of all responses {', '.join(seen) or 'none without a verdict'}{rest}"


def outcome_warnings(files: Iterable[str]) -> list[str]:
    """Return a line for each file (samples, rollouts) in which the share of an outcome is above its bound."""
    lines = []
    for file in files:
        path = Path(file)
        shares = _shares_of(file, path.stat().st_mtime_ns) if path.exists() else {}
        lines += [
            f"{file}: {100 * shares[name]:.1f} % {name} (bound {100 * bound:g} %)"
            for name, bound in BOUNDS.items()
            if shares.get(name, 0.0) > bound
        ]
    return lines


@lru_cache(maxsize=4096)
def _shares_of(file: str, _changed: int) -> dict[str, float]:
    """Return the shares of one file; read once, since `make status` asks every few seconds."""
    import pandas

    return outcome_shares(pandas.read_parquet(file, columns=["outcome"])["outcome"])
