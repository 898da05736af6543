"""Which claims on accuracy a plan can decide, from the smallest detectable differences."""

from dataclasses import replace
from pathlib import Path

import pytest

from selfdistill.commands import plan
from selfdistill.commands.costs import Assumptions
from selfdistill.commands.decidable import decidable_section, detectable, equal_weight
from selfdistill.statistics.power import minimum_detectable_effect
from selfdistill.study.load import load_study

CONFIG = Path(__file__).parents[2] / "config"
PAPER = load_study(CONFIG / "paper.yaml")


def test_a_mean_over_benchmarks_varies_as_one_of_so_many_problems():
    """Equal weights: variance (1/30 + 1/30 + 1/40) / 9 of a problem's; one benchmark is itself."""
    assert equal_weight([30, 30, 40]) == round(9 / (1 / 30 + 1 / 30 + 1 / 40))
    assert equal_weight([30]) == 30


def test_effects_lie_beyond_the_bounds_of_the_claim():
    lines = {line.split()[0]: line for line in decidable_section(PAPER)}
    aime = 100 * minimum_detectable_effect(n_problems=30, k=16, seeds=1)
    assert f"aime24 at most {-5 - aime:+.1f} points" in lines["C3"]
    assert "aime24 cannot be shown, its bounds lie closer than twice 12.9 points" in lines["C4"]
    assert f"aime24 at least {-2 + aime:+.1f} points" in lines["C6"]
    assert "math500 at least -1.9 and at most +1.9 points" in lines["C4"]


def test_claims_on_lengths_and_words_and_untested_ones_are_not_named():
    names = [line.split()[0] for line in decidable_section(PAPER)]
    assert "C1" not in names and "C7" not in names, "no accuracy"
    assert "C15" not in names, "the size of its benchmark is not declared"
    assert detectable(PAPER, ("training",)) is None


def test_one_seed_is_said_to_speak_of_these_runs_only():
    assert "on these runs only, not on the method" in decidable_section(PAPER)[0]
    three = replace(PAPER, file=PAPER.file.model_copy(update={"seeds": [0, 1, 2]}))
    assert "3 seeds would decide" in decidable_section(three)[0] and "only" not in decidable_section(three)[0]


def test_a_study_that_tests_no_claim_has_no_section():
    assert decidable_section(load_study(CONFIG / "smollm.yaml")) == []


@pytest.mark.parametrize("claim", ["C5", "C9"])
def test_the_plan_shows_it(claim):
    assert f"  {claim:4} ood at" in plan.render(PAPER, Assumptions(), {})
