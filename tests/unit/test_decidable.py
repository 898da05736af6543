"""Which claims on accuracy a plan can decide, from the smallest detectable differences."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from selfdistill.claims.ledger import ledger_of
from selfdistill.claims.selection import plan_claims
from selfdistill.commands import decidable, plan
from selfdistill.commands.costs import Assumptions
from selfdistill.commands.decidable import decidable_section, detectable, equal_weight, ledger_units
from selfdistill.statistics.power import lent_freedom, minimum_detectable_effect
from selfdistill.study.load import load_study
from selfdistill.vocabulary.runs import SECTION_3

CONFIG = Path(__file__).parents[2] / "config"
PAPER = load_study(CONFIG / "paper.yaml")
THREE = replace(PAPER, file=PAPER.file.model_copy(update={"seeds": [0, 1, 2], "disk_gb": None}))


def test_a_mean_over_benchmarks_varies_as_one_of_so_many_problems():
    """Equal weights: variance (1/30 + 1/30 + 1/40) / 9 of a problem's; one benchmark is itself."""
    assert equal_weight([30, 30, 40]) == round(9 / (1 / 30 + 1 / 30 + 1 / 40))
    assert equal_weight([30]) == 30


def lines_of(study) -> dict[str, str]:
    """The lines of the section by claim."""
    return {line.split()[0]: line for line in decidable_section(study)}


def test_effects_lie_beyond_the_bounds_of_the_claim_at_holms_level():
    lines, units = lines_of(THREE), ledger_units(THREE, plan_claims(ledger_of(THREE), THREE))
    settings = {"draws": 3, "others": lent_freedom(3, units)}
    aime = 100 * minimum_detectable_effect(
        30, 16, level=1 - 0.05 / 2, **settings
    )  # two clauses in the family off-policy
    assert f"aime24 at most {-5 - aime:+.1f} points" in lines["C3"]
    assert f"aime24 cannot be shown, its bounds lie closer than twice {aime:.1f}" in lines["C4"]
    strict = 100 * minimum_detectable_effect(30, 16, level=1 - 0.05 / 16, **settings)
    assert f"aime24 at least {-2 + strict / math.sqrt(2):+.1f} points" in lines["C6"], (
        "the mean of two models"
    )
    assert "no effect stays open" in lines["C5"]


def test_more_replicates_decide_smaller_effects(monkeypatch):
    def effects(replicates: int, seeds: int) -> float:
        monkeypatch.setattr(decidable, "draws_of", lambda study: (replicates, seeds))
        return detectable(PAPER, ("math500",))

    assert effects(10, 1) < effects(5, 1) < effects(3, 1)
    assert effects(3, 2) < effects(3, 1)
    assert effects(1, 3) < effects(3, 1), (
        "seeds of one base borrow from every run, replicates from every base"
    )
    monkeypatch.setattr(decidable, "draws_of", lambda study: (3, 1))
    assert "3 replicates would decide" in decidable_section(PAPER)[0]


def test_bases_that_grew_from_one_lend_each_other_nothing():
    """A polished base is its organism, polished: the judge pools them as one."""
    study = load_study(CONFIG / "beyond.yaml", replicates=[0, 1, 2])
    assert len(study.bases()) == 2
    expected = minimum_detectable_effect(n_problems=384, k=8, draws=3, others=0.0)
    assert detectable(study, ("shorter", "longer", "paired")) == pytest.approx(expected)
    assert detectable(study, ("shorter", "longer", "paired"), last=False) > expected


def test_a_study_without_runs_and_with_seeds_has_effects_too():
    released = load_study(CONFIG / "released.yaml", seeds=[0, 1])
    assert detectable(released, tuple(released.file.benchmarks.names[:1])) > 0


def test_claims_on_lengths_and_words_and_untested_ones_are_not_named():
    names = lines_of(THREE)
    assert "C1" not in names and "C7" not in names, "no accuracy"
    assert "C15" not in names, "the size of its benchmark is not declared"
    assert detectable(PAPER, ("training",)) is None


def test_one_draw_decides_nothing():
    assert decidable_section(PAPER) == [
        "claims: one replicate with one seed gives effects and no verdict on what training does"
    ]
    assert "3 seeds of the same bases would decide" in decidable_section(THREE)[0]


def test_with_seeds_the_ledger_lends_between_runs_that_no_part_compares():
    """SDPO is compared with the other runs of a model, so a study of one model has few groups of its own."""
    study = load_study(CONFIG / "mini.yaml", models=["r1-mini"], seeds=[0, 1, 2])
    units = ledger_units(study, plan_claims(ledger_of(study), study))
    assert 1 < units < len({str(run.key()) for run in study.runs()})
    assert lent_freedom(3, units) < lent_freedom(3, len(study.runs()) // 3)
    assert detectable(study, ("in-domain",), units=units) > detectable(study, ("in-domain",))
    assert ledger_units(load_study(CONFIG / "mini.yaml", replicates=[0, 1]), ()) is None


def test_section_3_is_drawn_once_per_replicate_whatever_the_seeds():
    """The ledger has no verdict on a base that the study drew once; released weights are as they are."""
    mini, replicates = load_study(CONFIG / "mini.yaml", seeds=[0, 1, 2]), [0, 1, 2]
    assert not [line for line in decidable_section(mini) if "section-3" in line]
    assert [line for line in decidable_section(THREE) if "section-3" in line]
    one, two = (
        load_study(CONFIG / "mini.yaml", replicates=replicates, seeds=seeds) for seeds in ([0], [0, 1])
    )
    assert detectable(one, (SECTION_3,)) == detectable(two, (SECTION_3,))
    assert detectable(one, ("in-domain",)) > detectable(two, ("in-domain",))


def test_a_study_that_tests_no_claim_has_no_section():
    assert decidable_section(load_study(CONFIG / "smollm.yaml")) == []


@pytest.mark.parametrize("claim", ["C5", "C9"])
def test_the_plan_shows_it(claim):
    assert f"  {claim:4} ood at" in plan.render(THREE, Assumptions(), {})
