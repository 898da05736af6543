"""The two epistemic counters and the frequency shift (paper.md section 2, Fig. 12)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from selfdistill.grading.epistemic import (
    COUNT_COLUMNS,
    count_columns,
    count_substring,
    count_word,
    frequency_shift,
)
from selfdistill.vocabulary.words import EPISTEMIC_WORDS


@pytest.mark.parametrize(
    ("text", "word", "substring", "whole"),
    [
        ("It is unlikely, most likely.", "likely", 2, 1),
        ("Checking: I check the checks", "check", 3, 1),
        ("We await it. Wait, wait!", "wait", 3, 2),
        ("Almighty might", "might", 2, 1),
        ("Hmm... HMM", "hmm", 2, 2),
        ("waitwait", "wait", 2, 0),
        ("wait_ing", "wait", 1, 0),
        ("", "wait", 0, 0),
    ],
)
def test_substring_and_word_boundary(text: str, word: str, substring: int, whole: int) -> None:
    assert count_substring(text)[word] == substring == text.lower().count(word)
    assert count_word(text)[word] == whole


def test_the_ten_words_in_the_papers_order() -> None:
    expected = "wait hmm perhaps maybe actually alternatively seems might likely check"
    assert " ".join(EPISTEMIC_WORDS) == expected
    assert list(count_substring("x")) == list(count_word("x")) == expected.split()


def test_columns_agree_with_the_single_text_counters() -> None:
    texts = [
        "Wait, maybe it seems unlikely\nActually",
        "",
        "no such words here",
        "Alternatively perhaps: await",
    ]
    frame = count_columns(texts)
    assert tuple(frame.columns) == COUNT_COLUMNS
    assert set(frame.dtypes.astype(str)) == {"int64"}
    for row, text in zip(frame.to_dict("records"), texts, strict=True):
        assert {word: row[f"substring_{word}"] for word in EPISTEMIC_WORDS} == count_substring(text)
        assert {word: row[f"word_{word}"] for word in EPISTEMIC_WORDS} == count_word(text)
        assert row["epistemic_substring"] == sum(count_substring(text).values())
        assert row["epistemic_word"] == sum(count_word(text).values())
    assert frame["total_words"].tolist() == [6, 0, 4, 3]
    assert frame["epistemic_substring"].tolist() == [5, 0, 0, 3]
    assert frame["epistemic_word"].tolist() == [4, 0, 0, 2]


def test_columns_ignore_a_foreign_index_and_take_no_text() -> None:
    assert count_columns(pd.Series(["wait", "hmm"], index=[7, 9])).index.tolist() == [0, 1]
    empty = count_columns([])
    assert len(empty) == 0
    assert tuple(empty.columns) == COUNT_COLUMNS


def test_frequency_shift_is_the_difference_of_mean_counts() -> None:
    base = pd.DataFrame({"response": ["Wait, the sum the", "wait: hmm"]})
    trained = pd.DataFrame({"response": ["the answer", "the sum", "sum", "= 4"]})
    frame = frequency_shift(base, trained).set_index("word")
    assert frame.loc["wait", ["count_base", "count_trained", "shift"]].tolist() == [1.0, 0.0, -1.0]
    assert frame.loc["the", ["count_base", "count_trained", "shift"]].tolist() == [1.0, 0.5, -0.5]
    assert frame.loc["sum", "shift"] == 0.0
    assert frame.loc["=", "count_trained"] == 0.25
    assert frame.index[0] == "wait"
    assert set(frame.index[frame["is_epistemic"]]) == set(EPISTEMIC_WORDS)
    assert frame.loc["check", "shift"] == 0.0
    assert np.all(np.diff(frame["shift"].abs()) <= 0)


def test_frequency_shift_needs_responses() -> None:
    with pytest.raises(ValueError, match="at least one response"):
        frequency_shift(pd.DataFrame({"response": []}), pd.DataFrame({"response": ["x"]}))
