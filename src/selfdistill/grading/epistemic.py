"""Epistemic words: the ten tokens of the paper (section 2), counted in two ways, and their shift (Fig. 12).

The paper's E(y) is the sum of `text.lower().count(word)` over the ten words: a substring count, so "unlikely"
counts as "likely", "await" as "wait" and "checking" as "check". Every record of this study carries that count
(`substring_{word}`, `epistemic_substring`) beside one that respects word boundaries (`word_{word}`,
`epistemic_word`), so that a reader sees whether a finding depends on the counter. Evaluation writes the
columns with `count_columns`; figures use `frequency_shift`.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from selfdistill.vocabulary.words import EPISTEMIC_WORDS, SUBSTRING_COLUMNS, WORD_COLUMNS

COUNT_COLUMNS: tuple[str, ...] = (
    *SUBSTRING_COLUMNS,
    *WORD_COLUMNS,
    "epistemic_substring",
    "epistemic_word",
    "total_words",
)

_WHOLE_WORD = re.compile(r"\b(?:" + "|".join(EPISTEMIC_WORDS) + r")\b")


def count_substring(text: str) -> dict[str, int]:
    """Return the count of each epistemic word as the authors count: `text.lower().count(word)`, without word boundaries.

    Source: eval/check_epistemic_tokens.py of the authors' repository.
    """
    lowered = text.lower()
    return {word: lowered.count(word) for word in EPISTEMIC_WORDS}


def count_word(text: str) -> dict[str, int]:
    """Return the count of each epistemic word as a whole word (regular-expression boundary), whatever its case.

    Not in the paper: the check on its substring count, and never larger than it.
    """
    found = Counter(_WHOLE_WORD.findall(text.lower()))
    return {word: found[word] for word in EPISTEMIC_WORDS}


def count_columns(texts: Sequence[str]) -> pd.DataFrame:
    """Return both counts of every text, as the columns of the samples record.

    One row per text in the order given, with a fresh 0-based index and `COUNT_COLUMNS`, all int64: both
    counts of each word, their sums, and `total_words` (whitespace words).
    """
    lowered = [text.lower() for text in texts]
    substrings, words = map(count_substring, lowered), map(count_word, lowered)
    rows = [
        {f"substring_{word}": own[word] for word in own} | {f"word_{word}": whole[word] for word in whole}
        for own, whole in zip(substrings, words, strict=True)
    ]
    columns = [*SUBSTRING_COLUMNS, *WORD_COLUMNS]
    frame = pd.DataFrame(rows, columns=columns, index=pd.RangeIndex(len(lowered)), dtype="int64")
    frame["epistemic_substring"] = frame[list(SUBSTRING_COLUMNS)].sum(axis=1)
    frame["epistemic_word"] = frame[list(WORD_COLUMNS)].sum(axis=1)
    frame["total_words"] = pd.Series([len(text.split()) for text in lowered], dtype="int64")
    return frame


def repeated_ngrams(text: str, n: int = 4) -> float:
    """Return the share of a text's n-grams of whitespace words, lower-cased, that have occurred before in it; 0 if it has none.

    1 minus distinct over all n-grams ("rep-n" of Welleck et al. 2020, arXiv 1908.04319, there of tokens). A degenerate loop ("wait, wait,
    wait, ...") has many epistemic words and a share near 1: repetition is no doubt.
    """
    words = text.lower().split()
    total = len(words) - n + 1
    if total < 1:
        return 0.0
    return 1 - len(set(zip(*(words[start:] for start in range(n)), strict=False))) / total


def vocabulary_counts(texts: Iterable[str]) -> pd.Series:
    """Mean count per response of every whitespace word, lower-cased and freed of surrounding punctuation.

    A token of punctuation only is kept as it is. Raises ValueError when there is no text.
    """
    tokens: Counter[str] = Counter()
    responses = 0
    for text in texts:
        tokens.update(text.lower().split())
        responses += 1
    if not responses:
        raise ValueError("word frequencies need at least one response")
    return pd.Series(_words(tokens), dtype="float64") / responses


def response_words(text: str) -> Counter[str]:
    """Return how often each word (as in `vocabulary_counts`) occurs in one response."""
    return _words(Counter(text.lower().split()))


def _words(tokens: Mapping[str, int]) -> Counter[str]:
    """Return the counts of words from those of lower-case tokens."""
    words: Counter[str] = Counter()
    for token, count in tokens.items():
        words[token.strip(string.punctuation) or token] += count
    return words


def counts_by_problem(samples: pd.DataFrame) -> pd.DataFrame:
    """Mean count per response of every word (`vocabulary_counts`), one row a problem.

    samples: problem_id and response. Returns problems x words, 0 where a word does not occur.
    """
    texts = samples.groupby("problem_id", observed=True)["response"]
    return pd.DataFrame({problem: vocabulary_counts(own) for problem, own in texts}).fillna(0.0).T


def frequency_shift(samples_base: pd.DataFrame, samples_trained: pd.DataFrame) -> pd.DataFrame:
    """Frequency shift of every word of the vocabulary, trained model against base (Fig. 12, Delta_m(w)).

    Both frames need a `response` column. Returns columns word, count_base, count_trained (mean count per
    response), shift (trained - base) and is_epistemic, largest absolute shift first. The ten epistemic words
    are always present.
    """
    base = vocabulary_counts(samples_base["response"])
    trained = vocabulary_counts(samples_trained["response"])
    words = base.index.union(trained.index).union(pd.Index(EPISTEMIC_WORDS))
    frame = pd.DataFrame({"word": words})
    frame["count_base"] = base.reindex(words, fill_value=0.0).to_numpy()
    frame["count_trained"] = trained.reindex(words, fill_value=0.0).to_numpy()
    frame["shift"] = frame["count_trained"] - frame["count_base"]
    frame["is_epistemic"] = frame["word"].isin(EPISTEMIC_WORDS)
    order = frame["shift"].abs().sort_values(ascending=False, kind="stable").index
    return frame.loc[order].reset_index(drop=True)
