"""The report (selfdistill.report.page): a page that needs nothing from outside, summary computed, text escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from synthetic_study import MODELS, STUDY, all_runs, draw, reported_on, run, samples_frame, study, table

from selfdistill.report.loading import training_costs
from selfdistill.report.page import (
    Example,
    Overview,
    Report,
    build_report,
    counters_sentence,
    direction,
    mark_words,
    pick_examples,
    summary,
)
from selfdistill.report.run_browser import run_browser
from selfdistill.report.study_data import Cell, StudyData, final_cell, rows_of_run
from selfdistill.report.style import save_figure
from selfdistill.study.displays import FIGURES, TABLES
from selfdistill.study.shown import example_runs, run_keys
from selfdistill.vocabulary.runs import base_key

VOID = {"meta", "link", "img", "br", "hr", "input", "source"}


class Page(HTMLParser):
    """Collects attributes that load something, ids and links, and checks that tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag loads and where it links."""
        found = dict(attrs)
        self.loads += [found[name] or "" for name in ("src", "srcset", "data", "poster") if name in found]
        if tag == "link":
            self.loads.append(found["href"] or "")
        if tag == "a":
            self.links.append(found["href"] or "")
        if "id" in found:
            self.ids.append(found["id"] or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Fail on a tag that closes another one than the last opened."""
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the generated study with one figure, every table, examples and costs."""
    data, folder = reported_on(study()), tmp_path_factory.mktemp("figures")
    figure, caption = draw("figure6")
    save_figure(figure, folder / "figure6.png", folder / "figure6.svg")
    samples = samples_frame(1)
    questions = dict.fromkeys(samples["problem_id"], "find x : <b> & more")
    costs = pd.DataFrame(
        {
            "rule": ["a", "b", "a"],
            "seconds": [10.0, 5.0, 30.0],
            "max_rss_mb": [100.0, 50.0, 200.0],
            "tokens": [7.0, float("nan"), 3.0],
        }
    )
    both = [
        {**run("r1-mini", "grpo"), "replicate": 0, "seed": seed, "seconds": 20.5, "tokens": 1000}
        for seed in (0, 1)
    ]
    training_costs = pd.DataFrame(both)
    report = Report(
        study="generated",
        data=data,
        figures={"figure6": (FIGURES["figure6"].title, folder / "figure6.png", caption)},
        tables={name: table(name).to_html() for name in TABLES},
        missing={"figure15": "no run with method=opsd"},
        costs=costs,
        training_costs=training_costs,
        provenance={"commit": "0123abc"},
        deviations=["Smaller models than the paper's."],
        examples=pick_examples(samples, questions, run_keys(example_runs(STUDY)), "longer"),
    )
    return build_report(report)


def test_the_page_loads_nothing_from_outside(page: str) -> None:
    parser = Page()
    parser.feed(page)
    assert not parser.open, "every tag is closed"
    assert parser.loads and all(load.startswith("data:") for load in parser.loads)
    assert all(link.startswith("#") for link in parser.links)
    assert {link[1:] for link in parser.links} <= set(parser.ids)
    assert len(parser.ids) == len(set(parser.ids))
    assert not re.search(r"@import|url\(|fetch\(|https?://", page)
    assert "default-src 'none'" in page


def test_a_plumbing_study_says_so_first_and_draws_no_conclusion() -> None:
    report = Report(
        study="plumbing",
        data=reported_on(study()),
        figures={},
        tables={},
        claims="<p>the ledger</p>",
        verdicts={"reproduced": 3},
        findings=["Three claims are reproduced."],
    )
    usual, plumbing = (
        build_report(replace(report, data=replace(report.data, plumbing=flag))) for flag in (False, True)
    )
    warning = "Plumbing only: this page shows no result."
    assert warning not in usual
    assert plumbing.index(warning) < plumbing.index('<h2 id="about">')
    for conclusion in (
        "the ledger",
        "3 reproduced",
        "are reproduced",
        'href="#claims"',
        "points (",
        "tell the same",
    ):
        assert conclusion in usual
        assert conclusion not in plumbing, conclusion
    parser = Page()
    parser.feed(plumbing)
    assert not parser.open
    assert {link[1:] for link in parser.links} <= set(parser.ids)


def test_the_page_has_its_sections_and_says_what_an_organism_shows(page: str) -> None:
    assert "<h3>Figure 6. Fixed and moving teacher</h3>" in page
    for anchor in ("about", "summary", "tables", "figures", "examples", "costs", "deviations", "provenance"):
        assert f'<h2 id="{anchor}">' in page
    assert 'id="claims"' not in page
    assert "was put in by that" in page and "it is measured" in page
    assert "no run with method=opsd" in page and "0123abc" in page and "Smaller models than" in page
    assert draw("figure6")[1] in page.replace("&#39;", "'")


def test_without_organism_and_with_claims() -> None:
    text = build_report(Report("x", StudyData(organism=False), {}, {}, claims="<p>ledger</p>"))
    assert "model organism" not in text.split("</style>")[1]
    assert '<h2 id="claims">' in text and "<p>ledger</p>" in text
    assert "no run beside its bases" in text and "No examples." in text and "Not recorded." in text


def test_text_from_outside_is_escaped(page: str) -> None:
    assert "find x : &lt;b&gt; &amp; more" in page and "find x : <b>" not in page
    assert mark_words("<i>Unlikely") == "&lt;i&gt;Un<mark>likely</mark>"
    example = Example("p", "q", [("base", "</pre><script>alert(1)</script> wait", True, 3)])
    text = build_report(Report("x", StudyData(), {}, {}, examples=[example]))
    assert "<script>alert" not in text and "<mark>wait</mark>" in text


def test_examples_are_the_first_problems_at_the_last_step() -> None:
    samples, arms = samples_frame(1), run_keys(example_runs(STUDY))
    assert arms[0] == base_key("r1-mini") and [arm["method"] for arm in arms[1:]] == ["grpo", "sdpo", "sdpo"]
    examples = pick_examples(samples, {}, arms, "longer", count=2)
    assert [example.problem_id for example in examples] == sorted(
        samples["problem_id"][samples["benchmark"] == "longer"].unique()
    )[:2]
    rows = rows_of_run(samples, run("r1-mini", "grpo"))
    rows = rows[(rows["step"] == 40) & (rows["sample_index"] == 0) & (rows["benchmark"] == "longer")]
    expected = rows.set_index("problem_id").loc[examples[0].problem_id, "response"]
    assert examples[0].answers[1][:2] == ("GRPO", expected)


def test_summary_comes_from_the_estimates() -> None:
    data = reported_on(study())
    found = dict(summary(data))
    assert len(found) == 4
    sentences = next(iter(found.values()))
    assert [sentence.split(":")[0] for sentence in sentences] == ["GRPO", "SDPO (c=s)", "SDPO (c=s\\think)"]
    rows = rows_of_run(data.differences, run("r1-mini", "grpo"))
    change = rows[(rows["benchmark"] == "in-domain") & (rows["metric"] == "accuracy")].iloc[0]
    assert f"{100 * change['difference']:+.1f}".replace("-", "−") in sentences[0]
    turned = data.differences.assign(
        difference=-data.differences["difference"],
        low=-data.differences["high"],
        high=-data.differences["low"],
    )
    opposite = dict(summary(replace(data, differences=turned)))
    worst, best = next(iter(found.values()))[1], next(iter(opposite.values()))[1]
    assert "below base" in worst and "above base" in best


def test_direction_needs_an_interval_without_zero() -> None:
    assert direction(Cell(0.1, 0.02, 0.2)) == "above base"
    assert direction(Cell(-0.1, -0.2, -0.01)) == "below base"
    assert direction(Cell(0.1, -0.01, 0.2)) == "not told apart from base"


def test_costs_are_summed_by_rule(page: str) -> None:
    table = re.search(r'<table class="sortable" id="costs-by-rule">.*?</table>', page, re.DOTALL).group()
    rows = re.findall(r"<tr><td>(\w)</td>(.*?)</tr>", table)
    values = {rule: [float(v) for v in re.findall(r'data-sort="([^"]+)"', cells)] for rule, cells in rows}
    assert list(values) == ["a", "b"]
    assert values["a"] == pytest.approx([2, 40, 800 / 9, 30, 10, 200])
    assert values["b"] == pytest.approx([1, 5, 100 / 9, 5, 50]), "no tokens"
    assert 'style="width:88.9%"' in table


def test_the_cost_of_a_training_is_not_that_of_its_evaluations() -> None:
    job = {"config": {"job": {"run": run("r1-mini", "sdpo") | {"replicate": 0, "seed": 0}}}, "tokens": 10}
    rules = {"train_on_policy": 100.0, "evaluate": 50.0, "evaluate_intervention": 70.0}
    manifests = [job | {"rule": rule, "wall_seconds": seconds} for rule, seconds in rules.items()]
    costs = training_costs(
        [*manifests, {"rule": "make_report", "config": {}, "wall_seconds": 1.0, "tokens": None}]
    )
    assert costs["seconds"].tolist() == [100.0]


def test_run_browser_has_every_run_with_its_numbers_and_costs(page: str) -> None:
    data = study()
    table = re.search(
        r'<table class="sortable browser" id="run-browser">.*?</table>', page, re.DOTALL
    ).group()
    heads = re.findall(r'<th scope="col">(.*?)</th>', table)
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(<td.*?)</tr>", table)]
    assert len(rows) == len(MODELS) + len(all_runs())
    found = [dict(zip(heads, row, strict=True)) for row in rows]
    grpo = next(row for row in found if row["Model"] == MODELS["r1-mini"] and row["Method"] == "grpo")
    expected = final_cell(data.estimates, run("r1-mini", "grpo"), "in-domain", "accuracy")
    assert grpo["In domain"].startswith(f"{100 * expected.estimate:.1f} <span")
    assert (grpo["Training (s)"], grpo["Tokens"]) == ("41", "2,000"), "both seeds"
    base = next(row for row in found if row["Method"] == "base")
    assert base["Δ In domain"] == base["Context"] == base["Training (s)"] == "–"


def test_numbers_over_replicates_say_so() -> None:
    data = study()
    single, both = run_browser(data, pd.DataFrame()), data.estimates.assign(n_replicates=3, n_seeds=2)
    assert '<th scope="col">Draws</th>' in single and ' data-sort="1" class=number>1 seed</td>' in single
    data = replace(data, estimates=both)
    table = run_browser(data, pd.DataFrame())
    assert table.count(' data-sort="6" class=number>3 replicates of 2 seeds</td>') == table.count("<tr><td")
    assert "summed over draws" in table and "Seeds" not in table
    assert all("draws of the base: 3 replicates of 2 seeds)" in head for head, _ in summary(data))


def test_summary_begins_with_the_findings_of_the_ledger() -> None:
    ledger = {"findings": ["First.", "Second."], "verdicts": {"reproduced": 2, "not run": 1}}
    text = build_report(Report("x", StudyData(), {}, {}, **ledger))
    assert '<p class="findings">First. Second.</p>' in text
    assert "<li>2 reproduced</li>\n<li>1 not run</li>" in text


def test_the_page_opens_with_the_picture_then_the_ledger(tmp_path: Path) -> None:
    wide, narrow = tmp_path / "wide.png", tmp_path / "narrow.png"
    wide.write_bytes(b"wide")
    narrow.write_bytes(b"narrow")
    shown = {"overview": Overview(wide, narrow, "How to <read> it."), "claims": "<p>ledger</p>"}
    text = build_report(Report("x", StudyData(), {}, {}, **shown))
    places = [
        text.index(one)
        for one in ('<figure id="overview">', "How to &lt;read&gt; it.", "<p>ledger</p>", '<h2 id="about">')
    ]
    assert places == sorted(places)
    assert re.search(
        r'<source media="[^"]+" srcset="data:image/png;base64,bmFycm93">\s*<img src="data:image/png;base64,d2lkZQ=="',
        text,
    )
    assert "put into these models by their pre-training data" in text
    plumbing = build_report(Report("x", StudyData(plumbing=True), {}, {}, **shown))
    assert 'id="overview"' not in plumbing


def test_images_are_the_saved_bytes(page: str, tmp_path: Path) -> None:
    import base64

    save_figure(draw("figure6")[0], tmp_path / "a.png", tmp_path / "a.svg")
    assert base64.b64encode((tmp_path / "a.png").read_bytes()).decode("ascii") in page


def test_the_page_says_whether_the_two_counters_agree() -> None:
    data = study()
    together = counters_sentence(data)
    assert "tell the same" in together
    rows = data.differences.copy()
    own = (rows["metric"] == "epistemic_word") & (rows["benchmark"] == "longer") & (rows["method"] == "grpo")
    first = rows[own].index[0]
    flipped = rows.assign(
        low=rows["low"].mask(rows.index == first, -9), high=rows["high"].mask(rows.index == first, -8)
    )
    apart = counters_sentence(replace(data, differences=flipped))
    assert "not for" in apart
    assert "longer" in apart
    assert counters_sentence(StudyData()) == ""
