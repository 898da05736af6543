"""The study past the paper: its claims were written before its runs, so each must find its runs, and no run may be there for nothing."""

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from selfdistill.claims.elsewhere import load_elsewhere
from selfdistill.claims.ledger import ledger_of, load_ledger
from selfdistill.claims.selection import plan_claims
from selfdistill.study.diagnosis import measured_runs
from selfdistill.study.load import load_study
from selfdistill.study.methods import ON_POLICY
from selfdistill.study.shown import intervened
from selfdistill.study.yaml import StudyError

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture(scope="module")
def study():
    return load_study(CONFIG / "beyond.yaml", replicates=[0, 1, 2])


@pytest.fixture(scope="module")
def parts(study):
    return plan_claims(ledger_of(study), study)


def test_every_part_of_a_claim_finds_its_runs(parts):
    assert {part.claim for part in parts} == {f"X{number}" for number in range(4, 17)}
    assert [(part.claim, part.name, part.missing) for part in parts if part.missing] == []


def test_every_run_is_there_for_a_claim(study, parts):
    judged = [arm.run for part in parts for arm in part.arms]
    assert [str(run) for run in study.runs() if run.key() not in judged] == []


def test_contexts_of_section_3_that_claims_compare_are_sampled(study, parts):
    asked = {arm.run["context"] for part in parts for arm in part.arms if part.benchmark == "section-3"}
    assert (
        asked - {"unguided", "answer-only"}
        == {"hint-parity", "hint-half"}
        <= set(study.file.section_3.further)
    )


def test_all_methods_of_the_registry_are_screened(study):
    assert {run.method for run in study.runs(methods=ON_POLICY)} == set(ON_POLICY)


def test_runs_sample_equally_many_responses_so_that_mean_lengths_compare_tokens(study):
    settings = [study.settings_for(run) for run in study.runs(methods=ON_POLICY)]
    assert len({(own.steps, own.prompts, own.rollouts) for own in settings}) == 1


def test_every_rate_has_both_methods(study):
    rates = Counter((run.method, study.settings_for(run).learning_rate) for run in study.runs("rates"))
    assert rates == {(method, rate): 3 for method in ("grpo", "sdpo") for rate in (2e-5, 6e-5, 2e-4)}


def test_margins_are_those_of_the_papers_claims_and_names_are_not(study):
    own, papers = ledger_of(study), load_ledger(CONFIG / "claims.yaml")
    assert own.margins == papers.margins
    assert own.alpha == papers.alpha
    assert not own.claims.keys() & papers.claims.keys()
    used = {part.margin for claim in own.claims.values() for part in claim.parts}
    assert used <= {0.0, *own.margins.values()}


def test_other_studies_are_judged_by_the_papers_claims():
    mini = load_study(CONFIG / "mini.yaml")
    assert ledger_of(mini) == load_ledger(CONFIG / "claims.yaml")


def test_what_others_measured_is_read_beside_any_claims():
    """Readings name the paper's claims: with another file of claims the entries stay readable, and belong to none of it."""
    elsewhere = load_elsewhere(CONFIG / "elsewhere.yaml")
    assert elsewhere == load_elsewhere(CONFIG / "elsewhere.yaml", load_ledger(CONFIG / "claims.yaml"))
    assert elsewhere.of_claim("C5")
    assert not elsewhere.of_claim("X4")


def test_a_file_of_claims_that_is_not_there_is_refused_with_the_key(tmp_path):
    for name in ("beyond.yaml", "models.yaml", "benchmarks.yaml", "claims.yaml", "claims_beyond.yaml"):
        shutil.copy(CONFIG / name, tmp_path)
    path = tmp_path / "beyond.yaml"
    path.write_text(path.read_text().replace("claims_beyond.yaml", "claims_beyon.yaml"))
    message = r"beyond\.yaml: claims: no such file: .*allowed: claims\.yaml, claims_beyond\.yaml; did you mean claims_beyond"
    with pytest.raises(StudyError, match=message):
        ledger_of(load_study(path))
    path.write_text(path.read_text().replace("claims_beyon.yaml", "../claims.yaml"))
    with pytest.raises(StudyError, match=r"beyond\.yaml: claims: "):
        load_study(path)


def test_the_costs_at_the_head_of_the_file_count_its_jobs(study):
    """The head multiplies these counts; a run more or less must be counted there too."""
    head = (CONFIG / "beyond.yaml").read_text(encoding="utf-8").split("\nstudy:")[0]
    one = load_study(CONFIG / "beyond.yaml")
    evaluations = sum(len(one.steps_of(run)) for run in one.base_runs() + one.runs())
    methods = Counter(
        "GRPO" if run.method == "grpo" else "others" if run.method in ON_POLICY else "SFT"
        for run in one.runs()
    )
    counts = re.search(
        r"(\d+) trainings by GRPO .*? (\d+) others .*? (\d+) SFT of .*? (\d+) evaluations of .*? (\d+) under interventions of .*? "
        r"(\d+) diagnoses",
        head.replace("\n#", ""),
    )
    further = (len(intervened(one)), len(measured_runs(one)))
    assert tuple(map(int, counts.groups())) == (
        *map(methods.get, ("GRPO", "others", "SFT")),
        evaluations,
        *further,
    )
