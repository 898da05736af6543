"""The claims ledger: its file, and the runs that it finds in a grid."""

import json

import pytest
import yaml
from spoiled import CONFIG

from selfdistill.claims.ledger import load_ledger
from selfdistill.claims.selection import as_params, from_params, needed_files, plan_claims
from selfdistill.records.paths import Paths
from selfdistill.study.load import load_study
from selfdistill.study.yaml import StudyError


def test_the_ledger_holds_the_papers_nineteen_claims(ledger):
    papers = [name for name in ledger.claims if name.startswith("C")]
    assert papers == [f"C{number}" for number in range(1, 20)]
    assert all(claim.place and claim.statement for claim in ledger.claims.values())
    assert {claim.family for claim in ledger.claims.values()} == set(ledger.families)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "nowhere"}, "claims.C3.family: unknown family 'nowhere'; allowed: "),
        ({"not_run": "and yet it has parts"}, "either `parts` or `not_run` (the reason) must be given"),
        ({"verdict": "reproduced"}, "unknown key"),
        ({"models": [], "also": []}, "`models` must be given unless every arm has a `model`"),
        ({"models": ["gpt"]}, "deepseek"),
    ],
)
def test_a_wrong_claim_is_refused_with_its_key(tmp_path, change, message):
    content = yaml.safe_load((CONFIG / "claims.yaml").read_text(encoding="utf-8"))
    content["claims"]["C3"] |= change
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(StudyError, match=r"claims\.yaml: claims\.C3") as error:
        load_ledger(path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"below": None}, "`above`, `below` or both must be given"),
        ({"above": 0.0, "below": -0.1}, "must be smaller"),
        ({"relative": True, "minus": []}, "must have one `plus` and one `minus` arm"),
        ({"minus": {"method": "grpo"}}, "`experiment` must be given for a trained arm"),
        (
            {"minus": {"method": "base", "intervention": "bann"}},
            "'bann' is not allowed; allowed: none, ban, force, neutral",
        ),
        ({"minus": {"method": "base", "intervention": "force"}}, "a base cannot be forced"),
        ({"metrics": ["acuracy"]}, "'acuracy' is not allowed; allowed: accuracy, pass@k, response_tokens"),
        (
            {"minus": {"method": "base", "intervention": "ban", "step": 0.5}},
            "needs a benchmark of evaluations and the last step",
        ),
        *(
            (change, "shift_epistemic and shift_other are measured on one benchmark, at the last step")
            for change in (
                {"metrics": ["shift_epistemic"], "benchmark": "ood"},
                {"metrics": ["shift_epistemic"], "benchmark": "training"},
                {"metrics": ["shift_other"], "minus": {"method": "base", "step": 0.5}},
                {"metrics": ["shift_other"], "minus": {"method": "base", "intervention": "ban"}},
            )
        ),
    ],
)
def test_a_wrong_part_is_refused(tmp_path, change, message):
    content = yaml.safe_load((CONFIG / "claims.yaml").read_text(encoding="utf-8"))
    content["claims"]["C3"]["parts"][0] |= change
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(StudyError) as error:
        load_ledger(path)
    assert message in str(error.value)
    assert "claims.C3.parts.0" in str(error.value)


def two_shifts(tmp_path, **change):
    """A ledger with a second part on word shifts, with these fields."""
    content = yaml.safe_load((CONFIG / "claims.yaml").read_text(encoding="utf-8"))
    parts = content["claims"]["C8"]["parts"]
    parts.append(parts[3] | change)
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_ledger(path)


@pytest.mark.parametrize("key", ["plus", "minus"])
def test_word_shifts_of_a_second_run_of_a_model_are_refused_with_both_parts(tmp_path, key):
    grpo = {"experiment": "on-policy", "method": "grpo"}
    with pytest.raises(StudyError) as error:
        two_shifts(tmp_path, **{key: grpo})
    assert "claims.C8.parts.4: `shift_epistemic` of " in str(error.value)
    assert "must be of one trained run, claims.C8.parts.3 has another" in str(error.value)


def test_word_shifts_of_the_same_run_or_of_another_model_are_allowed(tmp_path):
    written_out = {"experiment": "on-policy", "method": "sdpo", "context": "solution", "teacher": "fixed"}
    assert two_shifts(tmp_path, plus=written_out, above=2)
    grpo = {"experiment": "on-policy", "method": "grpo"}
    divisor = {"plus": grpo | {"metric": "shift_other"}, "minus": {"method": "base", "metric": "shift_other"}}
    other = {"plus": grpo, "share_of": divisor, "models": ["qwen3-nothink"], "also": []}
    assert two_shifts(tmp_path, **other)


def test_every_direction_that_counts_has_a_smallest_effect_of_interest(ledger):
    """Else a null effect could not be decided; bounds other than 0 are margins themselves."""
    directed = [
        part
        for claim in ledger.claims.values()
        for part in claim.parts
        if part.counts and 0 in (part.above, part.below)
    ]
    assert len(directed) > 20
    assert not [part.name for part in directed if not part.margin]
    assert {part.margin for part in directed} <= {*ledger.margins.values(), 0.01}


def test_no_effect_is_counted_twice_in_a_clause(ledger, mini):
    """Substring and whole-word counts are the same number in the model organism."""
    parts = [one for one in plan_claims(ledger, mini) if one.counts]
    keys = [
        (one.claim, one.clause, str(one.arms), one.metric.replace("_word", "_substring")) for one in parts
    ]
    assert len(keys) == len(set(keys))


def test_the_mini_study_can_test_all_claims_but_the_judges(ledger, mini):
    parts = plan_claims(ledger, mini)
    assert not [(one.claim, one.name, one.missing) for one in parts if one.missing]
    assert {one.claim for one in parts} == set(ledger.claims) - {"C19"}


def test_a_part_without_its_runs_says_which_is_missing(ledger):
    parts = plan_claims(ledger, load_study(CONFIG / "test.yaml"))
    reasons = {name: {one.missing for one in parts if one.claim == name} for name in ("C5", "C9", "C18")}
    assert "the study has no model for the role olmo3" in reasons["C5"]
    assert "the study has no benchmark for aime24" in reasons["C18"]
    assert any("no such run of on-policy: sdpo" in reason for reason in reasons["C9"])


def test_the_judge_reads_each_seed_of_the_runs_that_the_plan_names(ledger, mini):
    parts = [one for one in plan_claims(ledger, mini) if one.claim in ("C12", "C14")]
    files = needed_files(parts, mini, Paths("mini"))
    assert len(files["rollouts"]) == 6
    assert all("/coverage/" in path for path in files["rollouts"])
    assert not files["section_3"]
    assert any("/base/" in path for path in files["samples"])
    assert len(files["samples"]) == len(set(files["samples"])) == 5


def test_a_plan_survives_the_params_of_a_rule(ledger, mini):
    parts = plan_claims(ledger, mini)
    assert from_params(json.loads(json.dumps(as_params(parts)))) == parts


def test_a_plan_says_what_the_study_draws(ledger, mini):
    assert all(part.drawn for part in plan_claims(ledger, mini) if not part.missing)
    paper = plan_claims(ledger, load_study(CONFIG / "paper.yaml"))
    drawn = {part.claim: part.drawn for part in paper if not part.missing}
    assert drawn["C5"] and not drawn["C1"], "the paper's weights are given; its trainings are drawn"


def test_models_are_averaged_where_the_paper_speaks_of_models_in_general(ledger, mini):
    parts = [one for one in plan_claims(ledger, mini) if one.claim == "C5" and one.benchmark == "ood"]
    assert [(one.model, one.counts) for one in parts] == [
        ("mean of deepseek, qwen3-think, olmo3", True),
        *((model, False) for model in ("deepseek", "qwen3-think", "olmo3")),
    ]
    assert [(arm.group, arm.weight) for arm in parts[0].arms] == [
        (n, sign) for n in range(3) for sign in (1, -1)
    ]
    assert [one.base for one in parts] == ["", "r1-mini", "qwen3-mini", "olmo3-mini"]
    paper = [one for one in plan_claims(ledger, load_study(CONFIG / "paper.yaml")) if one.claim == "C1"]
    assert paper[0].model == "deepseek", "the models that the study has"
