"""Forest plots of the ledger (selfdistill.report.forest, overview, claim_parts): a row per claim, the paper's effects computed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from selfdistill.report.claim_parts import claim_forest
from selfdistill.report.claims_page import leading_part, to_html
from selfdistill.report.forest import LENGTH, LEVEL, POINTS, WORDS, deciding_rows, kind_of, row_of
from selfdistill.report.overview import NARROW, WIDE, draw_overview, overview_caption
from selfdistill.report.paper_numbers import MEASURES, levels_of, paper_levels, relative_change, roles_of
from selfdistill.report.tables.reported import load_reported

ROOT = Path(__file__).parents[2]
REPORTED = load_reported(ROOT / "config/reported.yaml")
RECORD = json.loads((ROOT / "docs/results/mini/claims.json").read_text(encoding="utf-8"))
CLAIMS = {claim["name"]: claim for claim in RECORD["claims"]}
DECIDING = {name: leading_part(claim) for name, claim in CLAIMS.items()}
ROWS = deciding_rows(RECORD, DECIDING, REPORTED)


def arm(method: str, weight: float, context: str = "none", step: float = 1.0, **fields: str) -> dict:
    """An arm of a part of claims.json, of a model that stands for DeepSeek."""
    trained = method != "base"
    usual = {"teacher": "fixed" if method == "sdpo" else "none", "coverage": "full" if trained else "none"}
    run = {"model": "m", "method": method, "context": context, "dataset": "chain", "variant": "default"}
    return {"run": run | usual | fields, "benchmarks": ["longer"], "step": step, "weight": weight}


SDPO, GRPO, BASE = arm("sdpo", 1.0, "solution"), arm("grpo", 1.0), arm("base", -1.0)


def part(*arms: dict, metric: str = "accuracy", benchmark: str = "aime24", **fields: object) -> dict:
    """A part of claims.json."""
    plain = {
        "name": "a part",
        "model": "deepseek",
        "relative": False,
        "counts": True,
        "verdict": "reproduced",
    }
    numbers = {
        "effect": -0.2,
        "low": -0.3,
        "high": -0.1,
        "above": None,
        "below": 0.0,
        "estimates": [0.2, 0.4],
    }
    return plain | numbers | {"arms": list(arms), "metric": metric, "benchmark": benchmark} | fields


def paper(one: dict) -> list[tuple[str, float, str]]:
    """Benchmark, effect and mark of what the paper reports of a part."""
    row = row_of({"name": "C5"}, one, levels_of(one, paper_levels(REPORTED), {}))
    return [(found.benchmark, round(found.value, 1), found.mark) for found in row.paper]


def test_every_claim_of_the_ledger_has_its_row_in_both_forms() -> None:
    assert list(ROWS) == list(CLAIMS)
    for form in (WIDE, NARROW):
        figure = draw_overview(RECORD, ROWS, form)
        texts = [text.get_text() for text in figure.texts]
        for name in CLAIMS:
            assert sum(text.startswith(f"{name} ") for text in texts) == 1, name
        drawn = {line.get_label() for axis in figure.axes for line in axis.get_lines()}
        assert {name for name, row in ROWS.items() if row is not None} <= drawn


def test_the_picture_draws_the_numbers_of_the_ledger() -> None:
    figure = draw_overview(RECORD, ROWS, WIDE)
    lines = {line.get_label(): line for axis in figure.axes for line in axis.get_lines()}
    for name, found in ROWS.items():
        if found is None:
            continue
        assert list(lines[name].get_xdata()) == [found.value]
        if found.paper:
            assert list(lines[f"paper {name}"].get_xdata()) == [one.value for one in found.paper]
        else:
            assert f"paper {name}" not in lines
    c5 = DECIDING["C5"]
    assert ROWS["C5"].value == pytest.approx(100 * c5["effect"])


def test_a_verdict_has_a_shape_and_a_colour_of_its_own() -> None:
    lines = {
        line.get_label(): line for axis in draw_overview(RECORD, ROWS, WIDE).axes for line in axis.get_lines()
    }
    looks = {CLAIMS[name]["verdict"]: lines[name] for name, row in ROWS.items() if row is not None}
    assert len(looks) == 3
    assert len({line.get_marker() for line in looks.values()}) == 3
    assert len({line.get_color() for line in looks.values()}) == 3


def test_no_axis_mixes_kinds_of_effects() -> None:
    kinds = {row.kind for row in ROWS.values() if row is not None}
    assert len(draw_overview(RECORD, ROWS, WIDE).axes) == len(kinds)
    assert kind_of(part(SDPO, BASE)) == POINTS
    assert kind_of(part(SDPO, estimates=[0.4])) == LEVEL
    assert kind_of(part(SDPO, BASE, metric="response_tokens")) == LENGTH
    assert kind_of(part(SDPO, BASE, metric="substring_wait")) == WORDS
    tokens = part(
        SDPO, BASE, metric="response_tokens", effect=-10.0, low=-12.0, high=-8.0, estimates=[30.0, 40.0]
    )
    found = row_of({"name": "C7"}, tokens)
    assert (found.value, found.low, found.high) == (-25.0, -30.0, -20.0)


def test_the_papers_effect_is_computed_from_its_numbers_as_ours_is() -> None:
    assert paper(part(GRPO, BASE)) == [("AIME24", 1.3, "S2")]
    assert paper(part(SDPO, BASE)) == [("AIME24", -22.2, "I")]
    early = arm("sdpo", 1.0, "solution", step=0.25)
    assert paper(part(early, BASE, metric="response_tokens", estimates=[1, 2])) == [("AIME24", -67.5, "D")]
    guided = arm("sft", 1.0, "solution")
    drops = [round(value, 1) for _, value, _ in paper(part(guided, BASE, benchmark="ood"))]
    assert drops == [-34.6, -25.2, -32.0, -26.7], "those that C3 repeats"
    nothink = {"model": "qwen3-nothink"}
    trained = [
        arm(name, weight, context, coverage="512")
        for name, weight, context in (("sdpo", 1, "solution"), ("grpo", -1, "none"))
    ]
    assert paper(part(*trained, benchmark="training", **nothink)) == [("Fig. 7", -11.0, "D")], (
        "both at step 50"
    )


def test_what_the_paper_does_not_report_stays_unknown() -> None:
    assert paper(part(arm("sdpo", 1.0, "answer-only"), BASE)) == []
    assert paper(part(SDPO, BASE, model="olmo3")) == []
    assert paper(part(arm("sdpo", 1.0, "solution", variant="topk-50"), BASE)) == []
    assert paper(part(arm("sdpo", 1.0, "solution", teacher="ema-0.05"), BASE)) == []
    assert row_of({"name": "C9"}, part(SDPO, BASE)).paper_text == "direction only"
    assert row_of({"name": "X1"}, part(SDPO, BASE)).paper_text == "none, a control of ours"
    lengths = [
        arm(name, weight, context, coverage="8")
        for name, weight, context in (("sdpo", 1, "solution"), ("grpo", -1, "none"))
    ]
    two_panels = part(
        *lengths, metric="response_tokens", benchmark="training", model="qwen3-nothink", estimates=[1, 2]
    )
    assert paper(two_panels) == [], "the two panels may not show the same quantity"
    thinking = part(SDPO, BASE, model="qwen3-think")
    assert relative_change(thinking, REPORTED, {}) == "−12.1 % of its base (AIME24) [V]"


def test_every_measure_is_a_quantity_of_the_file() -> None:
    assert set(MEASURES) <= set(REPORTED["quantity"])
    assert roles_of(RECORD)["r1-mini"] == "deepseek"


def test_the_caption_says_how_to_read_the_picture() -> None:
    caption = overview_caption(RECORD)
    for text in (
        "19 claims this study tests 18",
        "95 % interval",
        "no number",
        "S2*",
        "in points",
        "in percent",
    ):
        assert text in caption


def test_each_part_of_a_claim_has_its_line_of_marks() -> None:
    for claim in RECORD["claims"]:
        shown = claim_forest(claim)
        known = [one for one in claim["parts"] if one["effect"] is not None]
        assert shown.count('class="effect"') == len(known)
        assert shown.count('class="part pale"') == sum(not one["counts"] for one in known)
        assert all(0 <= float(at) <= 100 for at in re.findall(r'x[12]?="([0-9.]+)%"', shown))
    assert "<script" not in claim_forest(CLAIMS["C1"]) and claim_forest(CLAIMS["C19"]) == ""
    page = to_html(RECORD)
    assert page.count('<figure class="forest">') >= 18
    assert len(page) < 400_000


def test_marks_lie_where_the_numbers_are() -> None:
    claim = {"name": "C5", "parts": [part(SDPO, BASE, above=None, below=0.0)]}
    shown = claim_forest(claim)
    zero = float(re.search(r'class="zero" x1="([0-9.]+)%"', shown).group(1))
    low, high = map(float, re.search(r'interval-line" x1="([0-9.]+)%" x2="([0-9.]+)%"', shown).groups())
    middle = float(re.search(r'class="effect" x="([0-9.]+)%"', shown).group(1))
    assert low < middle < high < zero
    assert middle == pytest.approx((low + high) / 2, abs=0.2)
    assert "✔ −20.0 [−30.0, −10.0]" in shown
