"""The page of recommendations: which words are chosen by which verdicts, and what stands below them."""

from pathlib import Path

import pytest
import yaml

from selfdistill.claims.ledger import load_ledger
from selfdistill.claims.recommendations import Recommendation, clause_names, load_recommendations
from selfdistill.claims.verdicts import INCONCLUSIVE, NO_VERDICT, NOT_REPRODUCED, NOT_RUN, REPRODUCED
from selfdistill.report.claims_page import to_markdown
from selfdistill.report.recommendations import evidence_of, recommendations_text
from selfdistill.study.yaml import StudyError
from tests.unit.synthetic_study import claims_record

CONFIG = Path(__file__).parents[2] / "config"
ADVICE = {"rests_on": ["C1"], "holds": "Do it.", "fails": "Do not do it.", "open": "Measure it."}


@pytest.fixture(scope="module")
def clauses():
    return clause_names(load_ledger(path) for path in sorted(CONFIG.glob("claims*.yaml")))


@pytest.fixture(scope="module")
def record():
    return claims_record()


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([REPRODUCED, REPRODUCED], "Do it."),
        ([REPRODUCED, NOT_REPRODUCED], "Do not do it."),
        ([INCONCLUSIVE, NOT_REPRODUCED], "Do not do it."),
        ([REPRODUCED, INCONCLUSIVE], "Measure it."),
        ([REPRODUCED, NOT_RUN], "Measure it."),
        ([NO_VERDICT], "Measure it."),
    ],
)
def test_advice_follows_the_verdicts(verdicts, said):
    assert Recommendation(**ADVICE).text(verdicts) == said
    assert Recommendation(**ADVICE, of="RLSD").text(verdicts) == f"RLSD: {said[0].lower()}{said[1:]}"


def written(folder, rests_on):
    """A file of recommendations with one advice."""
    path = folder / "recommendations.yaml"
    advice = {**ADVICE, "rests_on": rests_on}
    path.write_text(yaml.safe_dump({"situations": [{"title": "A", "advice": [advice]}], "unknown": ["much"]}))
    return path


def test_the_projects_file_rests_on_claims_that_exist(clauses):
    assert load_recommendations(CONFIG / "recommendations.yaml", clauses).situations


def test_an_unknown_claim_is_refused_with_the_key(clauses, tmp_path):
    with pytest.raises(StudyError, match=r"recommendations.yaml.*situations.0.advice.0.rests_on.*'C99z'"):
        load_recommendations(written(tmp_path, ["C5", "C99z"]), clauses)


def test_the_page_shows_each_clause_with_its_verdict_effect_and_link(clauses, record, tmp_path):
    found = load_recommendations(written(tmp_path, ["C8", "X9a"]), clauses)
    text = recommendations_text(found, clauses, {"results/mini/claims.md": record})
    evidence = evidence_of({"results/mini/claims.md": record})
    assert len(clauses["C8"]) > 1
    for name in clauses["C8"]:
        assert f"- [{name}](results/mini/claims.md#c8) " in text
        assert evidence[name].verdict in text
        assert evidence[name].text in text
    assert "    - X9a – not run\n" in text  # of a ledger that is not published
    assert text.startswith("## A\n\n- **Measure it.**\n")
    assert text.endswith("## What remains unknown at scale\n\n- much")


def test_the_evidence_names_models_and_benchmark_of_the_part_that_decides(record):
    """Parts of a clause may have one name and differ in these."""
    text = evidence_of({"claims.md": record})["C5"].text
    assert text.startswith("SDPO(c=s) below base (mean of deepseek, qwen3-think, olmo3; aime24): "), text


def test_links_lead_to_anchors_of_the_ledgers_page(record):
    page = to_markdown(record)
    for evidence in evidence_of({"claims.md": record}).values():
        assert f'<a id="{evidence.place.removeprefix("claims.md#")}"></a>' in page
