"""Training data: what is left out of a set, and when that is refused."""

import logging

import pandas
import pytest

from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.training.datasets import rollout_dataset

QUESTIONS = ["find x : x +2 = 4", "find x : x +2 +2 +2 +2 = 4"]


def drawn(folder, max_tokens, coverage):
    """Two problems, the second one with a longer prompt."""
    path = folder / "problems.parquet"
    pandas.DataFrame({"problem_id": ["a", "b"], "question": QUESTIONS, "answers": [["2"], ["9"]]}).to_parquet(
        path
    )
    limits = {"steps": 2, "prompts": 2, "max_tokens": max_tokens, "seed": 0}
    return rollout_dataset(path, build_tokenizer("olmo3"), "none", **limits, coverage=coverage)


def test_long_prompts_are_left_out_of_a_whole_set_and_counted(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assert set(drawn(tmp_path, 10, "full")["problem_id"]) == {"a"}
    assert "excluded 1 of 2 problems: prompt longer than 10 tokens" in caplog.text
    assert set(drawn(tmp_path, 99, "full")["problem_id"]) == {"a", "b"}


def test_a_subset_is_as_large_as_its_name_says(tmp_path):
    assert set(drawn(tmp_path, 99, "2")["problem_id"]) == {"a", "b"}
    with pytest.raises(ValueError, match="1 of the 2 problems of coverage 2 .* max_prompt_tokens = 10: b"):
        drawn(tmp_path, 10, "2")
