"""Figures (selfdistill.report.figures, selfdistill.report.style): the lines are the frames' numbers; bytes do not vary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_study import BENCHMARKS, MODELS, draw, drawn, run, samples_frame, study

from selfdistill.report.drawing import drawing_function
from selfdistill.report.figures.curves import training_curve
from selfdistill.report.numbers import OOD_MEAN, study_estimates
from selfdistill.report.study_data import FigureError, rows_of_run, run_order, runs_of
from selfdistill.report.style import coverage_styles, method_style, new_figure, save_figure, shared_legend
from selfdistill.study.displays import FIGURES, TABLES
from selfdistill.study.methods import METHODS
from selfdistill.vocabulary.runs import base_key
from selfdistill.vocabulary.words import EPISTEMIC_WORDS


def lines(axis) -> dict[str, np.ndarray]:
    """Return the labelled lines of a panel: label -> points."""
    return {line.get_label(): line.get_xydata() for line in axis.get_lines() if line.get_label()[0] != "_"}


def legend_labels(figure) -> list[str]:
    """Return the labels of the figure's one legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_registry_holds_the_figures_of_the_paper_and_their_functions() -> None:
    for number in (1, 3, 4, 5, 6, 7, 8, 9, 12, 15, 18, 19, 20):
        assert f"figure{number}" in FIGURES
    for display in (*FIGURES.values(), *TABLES.values()):
        assert callable(drawing_function(display.draw)), display.draw


@pytest.mark.parametrize("name", [name for name in FIGURES if name not in ("figure4-all", "figure5-all")])
def test_a_figure_reads_only_the_frames_it_names(name: str) -> None:
    full = drawn(name)
    names = ("runs", "labels", "roles", "benchmarks", "headline")
    data = type(full)(**{field: getattr(full, field) for field in (*FIGURES[name].frames, *names)})
    figure, caption = draw(name, data)
    assert all(axis.has_data() for axis in figure.axes)
    assert len(caption) > 60


@pytest.mark.parametrize("name", [name for name in FIGURES if FIGURES[name].shows == "experiments"])
def test_a_figure_gets_the_rows_of_its_runs_and_their_bases_and_no_others(name: str) -> None:
    data, full = drawn(name), study()
    models = {run["model"] for run in data.runs}
    wanted = {tuple(run.values()) for run in data.runs}
    for frame in set(FIGURES[name].frames) - {"reported"}:  # the paper's numbers are of no run
        found = {tuple(run.values()) for run in runs_of(getattr(data, frame))}
        there = {tuple(run.values()) for run in runs_of(getattr(full, frame))}
        bases = {tuple(base_key(model).values()) for model in models} & there
        assert found == wanted | bases


def test_two_runs_of_one_coverage_are_refused() -> None:
    data = drawn("figure7")
    twice = replace(data, runs=(*data.runs, {**data.runs[0], "variant": "default"}))
    with pytest.raises(FigureError, match="GRPO has two runs of coverage 1"):
        draw("figure7", twice)


def test_a_figure_of_one_model_refuses_several() -> None:
    with pytest.raises(FigureError, match="one model; got runs of: r1-mini, qwen3-mini-think"):
        draw("figure6", drawn("figure19"))


def test_figure3_draws_the_estimates_from_the_base_on() -> None:
    data = study()
    figure, _ = draw("figure3")
    accuracy = next(axis for axis in figure.axes if axis.get_title("left") == "(c) Paired chains")
    drawn = lines(accuracy)
    assert set(drawn) == {"GRPO", "SDPO (c=s)", "SDPO (c=s\\think)", "base"}
    rows = data.estimates[
        (data.estimates["benchmark"] == "paired") & (data.estimates["metric"] == "accuracy")
    ]
    own = rows_of_run(rows, run("r1-mini", "sdpo", "solution", "fixed")).sort_values("step")
    base = rows_of_run(rows, base_key("r1-mini"))["estimate"].item()
    points = drawn["SDPO (c=s)"]
    np.testing.assert_allclose(points[0], (0, base))
    np.testing.assert_allclose(points[1:], own[["step", "estimate"]].to_numpy())
    low, high = accuracy.get_ylim()
    assert low <= own["low"].min() and high >= own["high"].max()


def test_figure3_bars_are_the_paired_differences_of_each_word() -> None:
    data = study()
    figure, _ = draw("figure3")
    bars = figure.axes[-2]  # above the paper's
    assert [text.get_text() for text in bars.get_xticklabels()] == list(EPISTEMIC_WORDS)
    grpo = next(one for one in bars.containers if one.get_label() == "GRPO")
    rows = rows_of_run(data.differences, run("r1-mini", "grpo"))
    rows = rows[rows["benchmark"] == "paired"].set_index("metric")["difference"]
    expected = [rows[f"substring_{word}"] for word in EPISTEMIC_WORDS]
    np.testing.assert_allclose([bar.get_height() for bar in grpo], expected)


def test_training_curve_is_mean_and_range_over_seeds() -> None:
    rows = pd.DataFrame(
        {"step": [0, 0, 1, 1], "replicate": 0, "seed": [0, 1, 0, 1], "score": [0.2, 0.4, 0.5, 0.9]}
    )
    curve = training_curve(rows, "score")
    np.testing.assert_allclose(curve["mean"], [0.3, 0.7])
    np.testing.assert_allclose(curve["smooth"], curve["mean"])  # two steps are not smoothed
    np.testing.assert_allclose(curve[["low", "high"]], [[0.2, 0.4], [0.5, 0.9]])


def test_long_training_curves_show_a_five_step_mean() -> None:
    scores = np.arange(40.0)
    scores[20] += 5
    curve = training_curve(pd.DataFrame({"step": range(40), "score": scores}), "score").set_index("step")
    assert curve.loc[20, "smooth"] == pytest.approx(21.0)
    assert curve.loc[20, "mean"] == 25.0


def test_figure7_has_a_line_for_each_coverage_and_one_scale() -> None:
    figure, _ = draw("figure7")
    assert legend_labels(figure) == [f"|D| = {count}" for count in (1, 8, 64, 128, 512)]
    titles = [axis.get_title("left") for axis in figure.axes[::2]]
    assert titles == [
        "GRPO",
        "the paper: GRPO (digitised)",
        "SDPO (c=s)",
        "the paper: SDPO (c=s) (digitised)",
    ]
    assert figure.axes[0].get_ylim() == figure.axes[4].get_ylim()
    assert figure.axes[0].get_ylim()[0] == 0


def test_figure8_clips_no_interval() -> None:
    data = study()
    figure, _ = draw("figure8")
    outside = [name for name, entry in BENCHMARKS.items() if entry["ood"]]
    for row, name in enumerate(outside):
        rows = data.estimates[
            (data.estimates["benchmark"] == name) & (data.estimates["metric"] == "accuracy")
        ]
        rows = rows[(rows["model"] == "qwen3-mini-nothink") & rows["variant"].eq("coverage")]
        for axis in figure.axes[2 * row : 2 * row + 2]:
            low, high = axis.get_ylim()
            assert low <= rows["low"].min() and high >= rows["high"].max()


def test_figure12_splits_the_vocabulary() -> None:
    data = study()
    figure, _ = draw("figure12")
    assert [axis.get_title("left") for axis in figure.axes] == list(MODELS.values())
    rows = rows_of_run(data.shift, run("r1-mini", "grpo"))
    points = figure.axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(
        np.sort(points[:, 1]), np.sort(rows.loc[rows["is_epistemic"], "shift"].to_numpy())
    )


def test_captions_hold_problems_samples_and_seeds() -> None:
    for seeds in (1, 2):
        caption = draw("figure3", drawn("figure3", seeds))[1]
        assert "n = 12 problems, k = 4 samples per problem" in caption
        assert f"{seeds} seed" in caption and "95 % intervals" in caption
        assert ("band: range over them" in caption) is (seeds > 1)
    assert "1 seed, 40 steps" in draw("figure1")[1]
    assert "pre-training data" in draw("figure9")[1]
    assert "pre-training" not in draw("figure9", replace(study(), organism=False))[1]


def test_methods_keep_colour_and_differ_in_grey() -> None:
    fixed = method_style(run("m", "sdpo", "solution", "fixed"))
    moving = method_style(run("m", "sdpo", "solution", "ema-0.05"))
    assert fixed.colour == moving.colour and fixed.dashes != moving.dashes
    assert moving.label == "SDPO (c=s), EMA 0.05"
    runs = runs_of(samples_frame(1))
    looks = {(run["method"], run["context"]): method_style(run) for run in runs}
    assert len({style.marker for style in looks.values()}) == len(looks)
    styles = coverage_styles(["512", "1", "full", "64", "8"])
    assert list(styles) == ["1", "8", "64", "512", "full"]
    assert len({style.marker for style in styles.values()}) == 5


def test_methods_differ_in_colour_and_teachers_contexts_are_ordered_from_the_richest() -> None:
    colours = [method.look.colour for method in METHODS.values() if method.look]
    assert len(set(colours)) == len(colours) > 6
    for method in ("sdpo", "sdpo-schedule", "blend"):
        runs = [run("m", method, context, "fixed") for context in ("answer-only", "solution")]
        assert [own["context"] for own in sorted(runs, key=run_order)] == ["solution", "answer-only"]


def test_same_figure_same_bytes(tmp_path: Path) -> None:
    files = []
    for name in ("first", "second"):
        paths = tmp_path / f"{name}.png", tmp_path / f"{name}.svg"
        save_figure(draw("figure6")[0], *paths)
        files.append([path.read_bytes() for path in paths])
    assert files[0] == files[1]
    assert b"Software" not in files[0][0] and b"dc:date" not in files[0][1]


def test_a_mean_over_ood_benchmarks_has_no_step_at_which_one_was_not_evaluated():
    samples = samples_frame(1)
    samples = samples[samples["model"] == samples["model"].iloc[0]]
    ood = [name for name, entry in BENCHMARKS.items() if entry["ood"]]
    whole = study_estimates(samples, samples.iloc[:0], ood)
    early = samples["step"].isin([10, 20]) & (samples["method"] == "sdpo")
    few = study_estimates(samples[~(early & (samples["benchmark"] == "longer"))], samples.iloc[:0], ood)
    lost = few.merge(whole, how="right", indicator=True)["_merge"] == "right_only"
    gone = whole[lost.to_numpy()]
    assert set(gone["step"]) == {10, 20} and set(gone["method"]) == {"sdpo"}
    assert set(gone["benchmark"]) == {"longer", OOD_MEAN}


def test_a_legend_has_no_more_columns_than_fit():
    """Twelve long labels in four columns would reach out of a figure of two panels."""
    figure, axes = new_figure(1, 2)
    for number in range(12):
        axes[0, 0].plot([0, 1], label=f"a run with a long label, {number}")
    shared_legend(figure, list(axes.flat))
    (legend,) = figure.legends
    assert legend.get_window_extent().width <= 0.95 * figure.bbox.width
    assert len(legend.get_texts()) == 12
