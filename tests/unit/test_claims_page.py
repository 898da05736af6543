"""The record of the claims' verdicts, and its pages in Markdown and HTML."""

import json
import re
from itertools import pairwise

import pandas as pd
import pytest
from claim_cases import BASE, SDPO, part, samples
from spoiled import CONFIG
from synthetic_study import claims_record

from selfdistill.claims.elsewhere import Elsewhere, load_elsewhere
from selfdistill.claims.judge import Frames, judge_parts
from selfdistill.claims.verdicts import NO_VERDICT, NOT_RUN, REPRODUCED, VERDICTS, as_record, judge_claims
from selfdistill.report.claim_parts import claim_forest
from selfdistill.report.claims_page import effect_text, expected_text, to_html, to_markdown
from selfdistill.report.claims_summary import counts_of, summary_sentences
from selfdistill.report.forest import LEVEL, kind_of


@pytest.fixture(scope="module")
def record(ledger) -> dict:
    frame = pd.concat([samples(SDPO, 0.3), samples(BASE, 0.5)])
    frames = Frames(frame, pd.DataFrame(), pd.DataFrame())
    parts = judge_parts([part(below=0.0)], frames, 0.05)
    return as_record(
        ledger, "test", judge_claims(ledger, parts), load_elsewhere(CONFIG / "elsewhere.yaml", ledger)
    )


def test_the_record_is_plain_json_without_nan(record):
    text = json.dumps(record, allow_nan=False)
    assert json.loads(text)["claims"][4]["verdict"] == REPRODUCED
    assert counts_of(record) == dict.fromkeys(VERDICTS, 0) | {REPRODUCED: 1, NOT_RUN: 18}


def test_the_summary_is_three_sentences_from_the_ledger(record):
    sentences = summary_sentences(record)
    assert len(sentences) == 3 and "no verdict" not in " ".join(sentences)
    assert "19 claims this study tests 1, and 1 (C5) are reproduced" in sentences[0]
    assert "18 (C1, C2" in sentences[2]


def test_the_summary_of_a_study_with_claims_of_its_own_counts_these(record):
    own = record | {"claims": [claim | {"name": f"X{claim['name']}"} for claim in record["claims"]]}
    assert "Of the study's own 22 claims this study tests 1, and 1 (XC5)" in summary_sentences(own)[0]
    assert counts_of(own) == dict.fromkeys(VERDICTS, 0) | {REPRODUCED: 1, NOT_RUN: 21}


def test_a_claim_without_verdict_does_not_hide_those_of_the_others(record):
    verdicts = {"C1": NO_VERDICT, "C5": REPRODUCED}
    claims = [claim | {"verdict": verdicts.get(claim["name"], NOT_RUN)} for claim in record["claims"]]
    first, _, last = summary_sentences(record | {"claims": claims})
    assert "19 claims this study tests 2, and 1 (C5) are reproduced" in first
    assert "replicates: 0; no verdict: 1 (C1); not run: 17 (C2, C3, C4, C6," in last
    claims = [claim | {"verdict": NO_VERDICT} for claim in claims]
    assert "there is no verdict" in summary_sentences(record | {"claims": claims})[1]
    claims = [claim | {"verdict": NOT_RUN} for claim in claims]
    assert "replicate, so" not in summary_sentences(record | {"claims": claims})[1]


def test_pages_show_every_claim_in_order_with_its_reason(record, ledger):
    page, text = to_html(record), to_markdown(record)
    for shown in (page, text):
        places = [shown.index(f"{name}. ") for name in ledger.claims]
        assert all(first < second for first, second in pairwise(places))
        assert "it needs an LLM as judge" in shown
        assert "✔ reproduced" in shown
    assert 'href="#figure9"' in page
    assert "s\\think" in page


def test_effects_are_shown_in_their_units():
    shown = {
        "arms": [{"weight": weight, "over": 0.0} for weight in (1.0, -1.0)],
        "relative": False,
        "metric": "accuracy",
        "effect": -0.123,
        "low": -0.2,
        "high": -0.05,
    }
    assert effect_text(shown) == "−12.3 [−20.0, −5.0] points"
    assert effect_text(shown | {"relative": True, "metric": "response_tokens"}) == "−12.3 [−20.0, −5.0] %"
    assert effect_text(shown | {"metric": "response_tokens", "effect": 3.25}).startswith("+3.25")
    assert expected_text(shown | {"above": None, "below": -0.05, "margin": 0.0}) == "< −5"
    assert expected_text(shown | {"above": -0.05, "below": 0.05, "margin": 0.0}) == "> −5 and < 5"
    assert expected_text(shown | {"above": None, "below": 0, "margin": 0.03}) == "< 0, by 3"
    ratio = shown | {"arms": [{"weight": 0.0, "over": 1.0}], "effect": 0.3, "low": 0.1, "high": 0.5}
    assert effect_text(ratio) == "0.30 [0.10, 0.50]"
    assert expected_text(ratio | {"above": 0.7, "below": None, "margin": 0.0}) == "> 0.70"


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.5]])
def test_a_level_has_no_sign_and_the_same_unit_in_tables_and_pictures(weights):
    arms = [{"weight": weight, "over": 0.0} for weight in weights]
    level = {"arms": arms, "relative": False, "metric": "accuracy", "effect": 0.9, "low": 0.85, "high": 0.95}
    assert effect_text(level) == "90.0 [85.0, 95.0] %" and kind_of(level) == LEVEL
    tokens = level | {"metric": "response_tokens", "effect": 310.5, "low": None}
    assert effect_text(tokens) == kind_of(tokens).text(310.5) == "310.50"
    assert kind_of(tokens).title == "Response tokens (its own unit)"


def test_a_page_says_over_what_its_intervals_are(record, ledger):
    assert "problems and 8 seeds of the same bases" in to_markdown(record)
    frame = pd.concat([samples(SDPO, 0.3, seeds=3), samples(BASE, 0.5, seeds=3)])
    frame = frame.assign(replicate=frame["seed"], seed=0)
    found = judge_parts([part(below=0.0)], Frames(frame, pd.DataFrame(), pd.DataFrame()), 0.05)
    page = to_markdown(as_record(ledger, "test", judge_claims(ledger, found), Elsewhere(entries=[])))
    assert "problems and 3 replicates" in page
    assert "200 / 4 / 3 / 1" in page


def test_each_part_of_a_claim_has_its_line_of_marks() -> None:
    record = claims_record(3)
    claims = {claim["name"]: claim for claim in record["claims"]}
    for claim in record["claims"]:
        shown = claim_forest(claim)
        known = [one for one in claim["parts"] if one["effect"] is not None]
        assert shown.count('class="effect"') == len(known)
        assert shown.count('class="part pale"') == sum(not one["counts"] for one in known)
        assert all(0 <= float(at) <= 100 for at in re.findall(r' c?x[12]?="([0-9.]+)%"', shown))
    assert "<script" not in claim_forest(claims["C1"]) and claim_forest(claims["C19"]) == ""
    assert "<span>b: GRPO not shorter (deepseek; aime24)</span>" in claim_forest(claims["C7"])
    page = to_html(record)
    assert page.count('<figure class="forest">') >= 18
    assert len(page) < 400_000
