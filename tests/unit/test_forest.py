"""Forest plots of the ledger (selfdistill.report.forest, overview, claim_parts): a row per claim, the paper's effects computed."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from synthetic_study import claims_record

from selfdistill.claims.verdicts import NO_VERDICT, NOT_REPRODUCED, NOT_RUN, PARTLY, REPRODUCED, VERDICTS
from selfdistill.report.claim_parts import SHAPES, claim_forest
from selfdistill.report.claims_page import SYMBOLS
from selfdistill.report.deciding import deciding_rows, leading_part, with_paper
from selfdistill.report.forest import (
    LENGTH,
    LEVEL,
    POINTS,
    RATIO,
    SHIFT,
    VERDICT_LOOKS,
    WORDS,
    Row,
    kind_of,
    members_of,
    row_of,
)
from selfdistill.report.overview import NARROW, WIDE, draw_overview, missing_lines, overview_caption
from selfdistill.report.paper_numbers import MEASURES, paper_levels, relative_change, roles_of
from selfdistill.report.tables.reported import load_reported

ROOT = Path(__file__).parents[2]
REPORTED = load_reported(ROOT / "config/reported.yaml")
LEVELS = paper_levels(REPORTED)


@pytest.fixture(scope="module")
def record() -> dict:
    """The ledger of the generated study with three replicates."""
    return claims_record(3)


@pytest.fixture(scope="module")
def claims(record) -> dict:
    """Name -> claim."""
    return {claim["name"]: claim for claim in record["claims"]}


@pytest.fixture(scope="module")
def rows(record) -> dict[str, Row | str]:
    """Claim or clause -> its row, or why there is none."""
    return deciding_rows(record, REPORTED)


def lines_of(figure: Figure) -> dict:
    """Label -> line of a picture."""
    return {line.get_label(): line for axis in figure.axes for line in axis.get_lines()}


def own_rows(rows: dict[str, Row | str]) -> dict[str, Row]:
    """Those that were run."""
    return {name: row for name, row in rows.items() if isinstance(row, Row)}


def arm(method: str, weight: float, context: str = "none", step: float = 1.0, **fields: str) -> dict:
    """An arm of a part of claims.json, of a model that stands for DeepSeek."""
    trained = method != "base"
    usual = {"teacher": "fixed" if method == "sdpo" else "none", "coverage": "full" if trained else "none"}
    run = {"model": "m", "method": method, "context": context, "dataset": "chain", "variant": "default"}
    shown = {
        "over": 0.0,
        "group": 0,
        "metric": "",
        "benchmarks": ["longer"],
        "step": step,
        "intervention": "none",
    }
    return shown | {"run": run | usual | fields, "weight": weight}


SDPO, GRPO, BASE = arm("sdpo", 1.0, "solution"), arm("grpo", 1.0), arm("base", -1.0)


def part(*arms: dict, metric: str = "accuracy", benchmark: str = "aime24", **fields: object) -> dict:
    """A part of claims.json."""
    plain = {
        "name": "a part",
        "model": "deepseek",
        "relative": False,
        "counts": True,
        "verdict": "reproduced",
        "clause": "",
        "margin": 0.0,
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


def relative(*arms: dict, **fields: object) -> dict:
    """A part whose effect is in units of the arms that are subtracted."""
    over = [one | {"over": float(one["weight"] < 0)} for one in arms]
    return part(*over, **({"metric": "response_tokens", "relative": True} | fields))


def beside(one: dict, claim: str = "C5") -> Row:
    """The row of a part, with the paper's numbers."""
    return with_paper(row_of({"name": claim, "parts": [one]}, one), [one], REPORTED, LEVELS, {})


def paper(one: dict) -> list[tuple[str, float, str]]:
    """Benchmark, effect and mark of what the paper reports of a part."""
    return [(found.benchmark, round(found.value, 1), found.mark) for found in beside(one).paper]


def test_what_the_paper_did_not_do_has_no_number_of_the_paper() -> None:
    usual, forced = part(SDPO, BASE), part(SDPO | {"intervention": "force"}, BASE)
    assert paper(usual) and not paper(forced), "its model answered freely"
    assert beside(usual).paper and not beside(usual, "X2").paper, "a claim of our own"


def test_a_training_of_the_paper_has_no_level_before_its_first_step() -> None:
    """GRPO with 64 problems is printed at steps 0 and 150, SDPO ends at 50: they share no step but the base's."""
    model = {"model": "qwen3-nothink", "benchmark": "training", "below": None, "above": 0.0}
    for coverage, expected in (("64", []), ("1", [("Fig. 7", -2.0, "D")])):
        both = [
            arm(method, weight, context, coverage=coverage)
            for method, weight, context in (("sdpo", 1.0, "solution"), ("grpo", -1.0, "none"))
        ]
        assert paper(part(*both, **model)) == expected


def test_every_claim_or_clause_of_the_ledger_has_its_row_in_both_forms(record, rows) -> None:
    names = [claim["name"] + clause["name"] for claim in record["claims"] for clause in claim["clauses"]]
    assert list(rows) == names
    assert {"C5", "C7a", "C7b", "C7c", "X1b"} <= set(names) and "C7" not in names
    for form in (WIDE, NARROW):
        figure = draw_overview(rows, form)
        texts = [text.get_text() for text in figure.texts]
        for name in own_rows(rows):
            assert sum(text.startswith(f"{name} ") for text in texts) == 1, name
        assert set(own_rows(rows)) <= set(lines_of(figure))
        assert any(text.startswith("Not run: C19; it needs an LLM") for text in texts)


def test_no_text_reaches_into_another(rows) -> None:
    for form in (WIDE, NARROW):
        figure = draw_overview(rows, form)
        figure.draw_without_rendering()
        boxes = {
            text.get_text(): text.get_window_extent() for text in figure.texts if len(text.get_text()) > 1
        }
        boxes["legend"] = figure.legends[0].get_window_extent()
        names = list(boxes)
        for place, name in enumerate(names):
            assert boxes[name].x1 <= figure.bbox.width, name
            for other in names[place + 1 :]:
                assert overlap(boxes[name], boxes[other]) <= 2, (name, other)
        for name in own_rows(rows) if form.numbers else ():
            label = next(text for text in boxes if text.startswith(f"{name} "))
            assert boxes[label].x1 <= form.left * figure.dpi, label


def overlap(one, other) -> float:
    """Pixels that two boxes share in the direction in which they share less; negative if they are apart."""
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    return min(across, min(one.y1, other.y1) - max(one.y0, other.y0))


def test_the_picture_draws_the_numbers_of_the_ledger(rows, claims) -> None:
    lines = lines_of(draw_overview(rows, WIDE))
    for name, found in own_rows(rows).items():
        assert list(lines[name].get_xdata()) == [found.value]
        if found.paper:
            assert list(lines[f"paper {name}"].get_xdata()) == [one.value for one in found.paper]
        else:
            assert f"paper {name}" not in lines
    parts = claims["C5"]["parts"]
    assert rows["C5"].value == pytest.approx(100 * leading_part(parts, claims["C5"]["verdict"])["effect"])


def test_a_verdict_has_a_shape_a_colour_and_a_symbol_of_its_own() -> None:
    assert set(VERDICT_LOOKS) == set(VERDICTS) == set(SYMBOLS)
    looks = VERDICT_LOOKS.values()
    assert len({look.symbol for look in looks}) == len(VERDICTS)
    assert len({(look.marker, look.filled) for look in looks}) == len(VERDICTS)
    coloured = [
        look.colour for verdict, look in VERDICT_LOOKS.items() if verdict not in (NO_VERDICT, NOT_RUN)
    ]
    assert len(set(coloured)) == len(coloured), "only what is not judged is grey"
    assert {look.marker for look in looks} <= set(SHAPES)


def test_a_row_shows_the_verdict_on_its_clause(rows, claims) -> None:
    mixed = [claim for claim in claims.values() if claim["verdict"] == PARTLY]
    assert mixed, "the generated study has a claim of which a clause holds and another does not"
    lines = lines_of(draw_overview(rows, WIDE))
    for claim in claims.values():
        for clause in claim["clauses"]:
            row = rows[claim["name"] + clause["name"]]
            if isinstance(row, Row):
                assert (row.verdict, row.reason) == (clause["verdict"], clause["reason"])
                assert lines[row.claim].get_marker() == VERDICT_LOOKS[clause["verdict"]].marker
    labels = {text.get_text() for text in draw_overview(rows, WIDE).legends[0].get_texts()}
    verdicts = {row.verdict for row in own_rows(rows).values()}
    assert {label for label in labels if label in {f"ours: {one}" for one in VERDICTS}} == {
        f"ours: {one}" for one in verdicts
    }


def test_the_part_that_fails_decides_a_clause_that_is_not_reproduced() -> None:
    weak = part(SDPO, BASE, p_for=0.9, p_against=0.3)
    failing = part(SDPO, BASE, p_for=0.8, p_against=0.001)
    shown = part(SDPO, BASE, p_for=1.0, p_against=0.0, counts=False)
    assert leading_part([weak, failing, shown], NOT_REPRODUCED) is failing
    assert leading_part([weak, failing, shown], REPRODUCED) is weak
    single = part(SDPO, BASE, p_for=None, p_against=None)
    assert leading_part([single, weak | {"p_for": None}], NO_VERDICT) is single
    assert leading_part([shown], REPRODUCED) is None


def test_a_mean_shows_its_models_and_what_the_paper_reports_of_each(rows, claims) -> None:
    lines = lines_of(draw_overview(rows, WIDE))
    averages = {name: row for name, row in own_rows(rows).items() if row.models}
    assert {"C2", "C3", "C5", "C9a"} <= set(averages) and "C10" not in averages
    for name, row in averages.items():
        assert list(lines[f"models {name}"].get_xdata()) == list(row.models)
        assert row.value == pytest.approx(sum(row.models) / len(row.models), abs=1.0)
    part_of = leading_part(claims["C3"]["parts"], claims["C3"]["verdict"])
    members = members_of(claims["C3"], part_of)
    assert [one["model"] for one in members] == ["deepseek", "qwen3-think", "olmo3"]
    assert averages["C3"].models == tuple(100 * one["effect"] for one in members)
    assert [round(one.value, 1) for one in averages["C3"].paper] == [-34.6, -25.2, -32.0, -26.7]
    assert averages["C3"].paper_text == "−34.6 to −25.2 (4 benchmarks; deepseek) [S2]"
    assert members_of(claims["C10"], claims["C10"]["parts"][0]) == []
    shown = claim_forest(claims["C5"])
    assert shown.count('class="model"') == 3 * 3 and "dots: the models of a mean" in shown


def test_a_smallest_effect_of_interest_is_a_band_beside_its_bound(rows) -> None:
    figure = draw_overview(rows, WIDE)
    bands = {one.get_label(): one for axis in figure.axes for one in axis.collections}
    for name, row in own_rows(rows).items():
        assert (f"margin {name}" in bands) == bool(row.margin)
        if row.margin:
            edges = bands[f"margin {name}"].get_paths()[0].vertices[:, 0]
            assert (edges.min(), edges.max()) == pytest.approx(row.too_small[0])
    assert rows["C5"].too_small in ([(-2.0, 0.0)], [(-3.0, 0.0)])
    assert beside(part(SDPO, BASE, above=0.0, below=None, margin=0.02)).too_small == [(0.0, 2.0)]
    assert beside(relative(SDPO, BASE, margin=0.05)).too_small == [(-5.0, 0.0)]
    assert beside(part(SDPO, BASE, above=-0.05, below=0.05)).too_small == []
    shown = claim_forest({"name": "C5", "parts": [part(SDPO, BASE, margin=0.02)]})
    assert shown.count('class="margin"') == 1 and "too small to be of interest" in shown
    assert "too small" not in claim_forest({"name": "C5", "parts": [part(SDPO, BASE)]})


def test_one_draw_shows_effects_and_says_that_there_is_no_verdict() -> None:
    record = claims_record(1)
    rows = deciding_rows(record, REPORTED)
    judged = {name: row for name, row in own_rows(rows).items() if row.low is not None}
    assert len(judged) > 30 and {row.verdict for row in judged.values()} == {NO_VERDICT}
    for form in (WIDE, NARROW):
        figure = draw_overview(rows, form)
        texts = " ".join(text.get_text() for text in figure.texts)
        assert "No verdicts: measured on one draw." in texts
        lines = lines_of(figure)
        assert all(not math.isnan(lines[name].get_xdata()[0]) for name in own_rows(rows))
        legend = [text.get_text() for text in figure.legends[0].get_texts()]
        assert "ours: no verdict" in legend
        assert not {"ours: reproduced", "ours: not reproduced", "ours: inconclusive"} & set(legend)
    assert "so there is no verdict" in overview_caption(record)
    shown = claim_forest(next(claim for claim in record["claims"] if claim["name"] == "C5"))
    assert shown.count('<svg class="no-verdict"') == shown.count('class="effect"') > 0


def test_several_draws_carry_no_such_warning(rows) -> None:
    assert not any(text.get_text().startswith("No verdict") for text in draw_overview(rows, WIDE).texts)


def test_rows_without_a_verdict_beside_others_are_named(rows) -> None:
    mixed = rows | {name: replace(rows[name], verdict=NO_VERDICT) for name in ("C5", "C9a")}
    for form in (WIDE, NARROW):
        texts = " ".join(text.get_text() for text in draw_overview(mixed, form).texts)
        assert "No verdict on C5, C9a: measured on one draw." in texts
        assert "No verdicts" not in texts


def test_what_was_not_run_for_one_reason_is_listed_once() -> None:
    reasons = {"C3": "no run", "C4": "no run", "C19": "it needs a judge"}
    assert missing_lines(reasons, WIDE) == ["Not run: C3, C4; no run", "Not run: C19; it needs a judge"]


def test_no_axis_mixes_kinds_of_effects(rows) -> None:
    kinds = {row.kind for row in own_rows(rows).values()}
    assert len(draw_overview(rows, WIDE).axes) == len(kinds)
    assert {POINTS, LENGTH, WORDS, RATIO, SHIFT} == kinds
    assert kind_of(part(SDPO, BASE)) == POINTS
    assert kind_of(part(SDPO, estimates=[0.4])) == LEVEL
    assert kind_of(relative(SDPO, BASE)) == LENGTH
    assert kind_of(relative(SDPO, BASE, metric="substring_wait")) == WORDS
    own_unit = kind_of(part(SDPO, BASE, metric="response_tokens"))
    assert "its own unit" in own_unit.title and own_unit.scale == 1


def test_a_share_of_another_effect_is_a_ratio(rows) -> None:
    share = part(
        SDPO | {"over": 1.0}, BASE | {"over": -1.0}, effect=0.83, low=0.5, high=1.1, above=0.7, below=None
    )
    found = row_of({"name": "X1", "parts": []}, share)
    assert (found.kind, found.text, found.above) == (RATIO, "0.83 [0.50, 1.10]", 0.7)
    assert rows["X1a"].kind == RATIO and rows["C8c"].kind == SHIFT


def test_the_papers_effect_is_computed_from_its_numbers_as_ours_is() -> None:
    assert paper(part(GRPO, BASE)) == [("AIME24", 1.3, "S2")]
    assert paper(part(SDPO, BASE)) == [("AIME24", -22.2, "I")]
    early = arm("sdpo", 1.0, "solution", step=0.25)
    assert paper(relative(early, BASE)) == [("AIME24", -67.5, "D")]
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
    assert row_of({"name": "C9", "parts": []}, part(SDPO, BASE)).paper_text == "direction only"
    assert (
        row_of({"name": "X1", "parts": []}, part(SDPO, BASE)).paper_text == "none, an extension of this study"
    )
    lengths = [
        arm(name, weight, context, coverage="8")
        for name, weight, context in (("sdpo", 1, "solution"), ("grpo", -1, "none"))
    ]
    two_panels = relative(*lengths, benchmark="training", model="qwen3-nothink")
    assert paper(two_panels) == [], "the two panels may not show the same quantity"
    other = BASE | {"benchmarks": ["shorter"]}
    assert paper(part(GRPO, other)) == [], "no number of the paper is of two benchmarks"
    assert paper(part(GRPO, BASE | {"metric": "pass@k"})) == []
    thinking = part(SDPO, BASE, model="qwen3-think")
    assert relative_change(thinking, REPORTED, {}) == "−12.1 % of its base (AIME24) [V]"


def test_every_measure_is_a_quantity_of_the_file(record) -> None:
    assert set(MEASURES) <= set(REPORTED["quantity"])
    assert roles_of(record)["r1-mini"] == "deepseek"


def test_the_caption_says_how_to_read_the_picture(record) -> None:
    caption = overview_caption(record)
    for text in (
        "19 claims this study tests 18",
        "95 % interval",
        "no number",
        "S2*",
        "in points",
        "in percent",
        "or per clause (a, b, …)",
        "each of them is a dot",
        "smaller than the smallest of interest",
    ):
        assert text in caption


def test_marks_lie_where_the_numbers_are() -> None:
    claim = {"name": "C5", "parts": [part(SDPO, BASE, above=None, below=0.0)]}
    shown = claim_forest(claim)
    zero = float(re.search(r'class="zero" x1="([0-9.]+)%"', shown).group(1))
    low, high = map(float, re.search(r'interval-line" x1="([0-9.]+)%" x2="([0-9.]+)%"', shown).groups())
    middle = float(re.search(r'class="effect" x="([0-9.]+)%"', shown).group(1))
    assert low < middle < high < zero
    assert middle == pytest.approx((low + high) / 2, abs=0.2)
    assert "✔ −20.0 [−30.0, −10.0]" in shown
