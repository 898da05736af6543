"""Panels with the paper's curves (selfdistill.report.figures.paper_panels): its numbers, its marks, and nothing for what is unknown."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_study import draw, drawn, reported_on, study

from selfdistill.report.figures.paper_panels import GROUND, curves_of
from selfdistill.report.page import Report, build_report
from selfdistill.report.style import method_style
from selfdistill.report.tables.reported import load_reported, reported_elsewhere


def paper_panels(figure) -> list:
    """Return the shaded panels of a figure."""
    from matplotlib.colors import to_rgba

    return [axis for axis in figure.axes if axis.get_facecolor() == to_rgba(GROUND)]


def test_figure3_draws_the_papers_curves_in_the_colours_of_ours() -> None:
    figure, caption = draw("figure3")
    accuracy, length, words = paper_panels(figure)
    assert accuracy.get_title("left") == "the paper: AIME24 (digitised)"
    lines = {line.get_label(): line for line in length.get_lines()}
    assert set(lines) == {"GRPO", "SDPO (c=s)"}
    np.testing.assert_allclose(lines["SDPO (c=s)"].get_ydata()[:3], [13120, 5360, 4440])
    assert lines["GRPO"].get_color() == method_style({"method": "grpo"}).colour
    bars = {one.get_label(): one for one in words.containers}
    assert [bar.get_height() for bar in bars["SDPO (c=s)"]][0] == -60.8
    assert len(bars["SDPO (c=s\\think)"]) == 0
    assert [text.get_text() for text in words.texts].count("?") == 10 + 3, (
        "nothing is drawn for what is unknown"
    )
    places = [text.xy[0] for text in words.texts if text.get_text() == "?"]
    falls = sum(later < earlier for earlier, later in pairwise(places))
    assert falls <= 2, "each arm's marks in the order of the words, so that a figure's bytes come again"
    assert "[D] digitised from the authors' figure" in caption and "length (tokens) ±80" in caption


def test_figure7_and_figure8_share_the_styles_of_coverages_with_the_paper() -> None:
    figure, caption = draw("figure7")
    assert len(paper_panels(figure)) == 4
    grpo = paper_panels(figure)[1]
    assert {len(line.get_xdata()) for line in grpo.get_lines()} == {1}, (
        "only the end of GRPO's length is known"
    )
    assert "Thin lines: only start and end are known. Single points: only the end is known." in caption
    figure, _ = draw("figure8")
    shown = paper_panels(figure)
    assert [axis.get_title("left") for axis in shown] == [
        "the paper: GRPO, AIME24 (digitised)",
        "the paper: SDPO (c=s), AIME24 (digitised)",
    ]
    assert shown[0].get_ylim() == shown[1].get_ylim()
    ours = {line.get_label(): line.get_color() for line in figure.axes[0].get_lines()}
    for line in shown[0].get_lines():
        assert ours.get(line.get_label(), line.get_color()) == line.get_color()


def test_the_authors_own_numbers_are_not_called_digitised() -> None:
    figure, caption = draw("figure9")
    assert paper_panels(figure)[0].get_title("left").endswith("(the authors' numbers)")
    assert "digitised" not in caption and "[F] first party" in caption


@pytest.mark.parametrize("name", ["figure3", "figure7", "figure8", "figure9"])
def test_without_numbers_of_the_paper_a_figure_has_ours_only(name: str) -> None:
    figure, caption = draw(name, replace(drawn(name), reported=pd.DataFrame()))
    assert paper_panels(figure) == [] and "Shaded" not in caption


def test_a_place_that_no_study_draws_is_listed_and_a_wrong_one_refused(tmp_path: Path) -> None:
    data = study()
    assert curves_of(data, "figure17", "accuracy") == []
    elsewhere = reported_elsewhere(data, ("figure3", "table1")).formatted
    assert {"Fig. 17", "Fig. 8"} <= set(elsewhere["In the paper"]) and "Fig. 3c" not in set(
        elsewhere["In the paper"]
    )
    page = build_report(Report("x", reported_on(data), {}, {}))
    assert '<details id="elsewhere">' in page and "Qwen3-1.7B (thinking on)" in page
    path = tmp_path / "reported.yaml"
    path.write_text(
        "entries: [{place: figur3, paper: Fig. 3, quantity: score, value: 1.0, mark: F}]", encoding="utf-8"
    )
    with pytest.raises(
        ValueError, match=r"entries\.0\.place: 'figur3' .*allowed: figure1, .*did you mean figure3"
    ):
        load_reported(path)
