"""Where a job's time goes (selfdistill.jobs.timing), and where a study's cores' time went (selfdistill.report.timeline)."""

import gc
import importlib
import sys
import time

import pytest

from selfdistill.jobs.run_job import describe_times
from selfdistill.jobs.timing import ImportClock, importing, process_start
from selfdistill.jobs.warm.client import Before
from selfdistill.report.figures.timeline import timeline
from selfdistill.report.timeline import (
    Span,
    describe,
    lanes_of,
    seconds_by_phase,
    sessions_of,
    shares_of,
    spans_of,
)


def manifest(rule, began, main, ended, imports):
    """The part of a manifest that the timeline reads."""
    times = {"process_began": began, "main_began": main, "ended": ended, "import_seconds": imports}
    return {"rule": rule, "times": times}


TWO_LANES = [
    manifest("train_base", 100.0, 101.0, 110.0, 3.0),
    manifest("train_grpo", 100.0, 100.5, 104.0, 1.0),
    manifest("evaluate_run", 105.0, 105.5, 110.0, 2.0),
]


def test_phases_of_a_job_add_up_to_its_length():
    (span,) = spans_of(TWO_LANES[:1])
    assert span.phases == {"compute": 6.0, "imports": 3.0, "start-up": 1.0}


def test_shares_are_of_all_lanes_from_first_begin_to_last_end():
    spans = spans_of(TWO_LANES)
    assert [span.rule for span in spans] == ["train_grpo", "train_base", "evaluate_run"]
    assert lanes_of(spans) == [0, 1, 0]
    seconds = seconds_by_phase(sessions_of(spans))
    assert seconds == {"compute": 11.0, "imports": 6.0, "start-up": 2.0, "between jobs": 1.0}
    assert shares_of(seconds)["between jobs"] == pytest.approx(1 / 20)


def test_a_later_session_adds_its_own_time_and_not_the_pause():
    later = [
        manifest(m["rule"], *(m["times"][k] + 5000 for k in ("process_began", "main_began", "ended")), 1.0)
        for m in TWO_LANES[:1]
    ]
    sessions = sessions_of(spans_of(TWO_LANES + later))
    assert [len(session) for session in sessions] == [3, 1]
    assert sum(seconds_by_phase(sessions).values()) == 2 * 10 + 10
    assert "2 sessions" in describe(spans_of(TWO_LANES + later), 4)


def test_a_short_pause_is_time_between_jobs():
    spans = spans_of([manifest("a", 0.0, 0.0, 10.0, 0.0), manifest("b", 40.0, 40.0, 50.0, 0.0)])
    assert seconds_by_phase(sessions_of(spans))["between jobs"] == 30.0


def test_manifests_written_before_times_were_kept_are_left_out_and_counted():
    old = {"rule": "train_sft", "wall_seconds": 3.0}
    text = describe(spans_of([*TWO_LANES, old]), 4)
    assert "55.0 % compute, 30.0 % imports, 10.0 % start-up, 5.0 % between jobs of 20 lane-seconds" in text
    assert "1 more jobs have not recorded" in text
    assert spans_of([old]) == []
    assert describe([], 1).startswith("None of the 1 jobs")


def texts(figure):
    """Every text of a figure's axes."""
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def test_figure_shows_every_job_in_its_lane_and_every_share():
    spans = spans_of(TWO_LANES)
    figure = timeline(spans)
    bars = [patch for patch in figure.axes[0].patches if patch.get_facecolor()[:3] != (0, 0, 0)]
    assert sorted((bar.get_x(), bar.get_width(), round(bar.get_y() + 0.4)) for bar in bars) == [
        (0.0, 4.0, 0),
        (0.0, 10.0, 1),
        (5.0, 5.0, 0),
    ]
    shown = texts(figure)
    assert {"compute 55.0 %", "imports 30.0 %", "start-up 10.0 %", "between jobs 5.0 %"} <= set(shown)
    assert {"base", "GRPO", "evaluation"} <= set(shown)


def test_figure_without_times_says_so():
    assert "no job has recorded" in timeline([]).texts[0].get_text()


def test_many_lanes_are_cut_off_but_counted():
    spans = [Span("train_sdpo", 0.0, 0.0, 1.0, 0.0)] * 40
    assert seconds_by_phase([spans])["compute"] == 40.0
    assert len(timeline(spans).axes[0].get_yticks()) == 16


def test_process_start_is_before_now_and_after_the_machines():
    assert time.time() - 86400 * 7 < process_start() < time.time()
    assert process_start() == pytest.approx(process_start(), abs=0.05)


@pytest.fixture
def slow_module(tmp_path, monkeypatch):
    """A module that takes 0.2 s, and imports another that takes 0.2 s."""
    (tmp_path / "slow_inner.py").write_text("import time\ntime.sleep(0.2)\n")
    (tmp_path / "slow_outer.py").write_text("import time\nimport slow_inner\ntime.sleep(0.2)\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "slow_outer"
    for name in ("slow_outer", "slow_inner"):
        sys.modules.pop(name, None)


def test_import_clock_counts_nested_imports_once_and_nothing_else(slow_module):
    clock = ImportClock()
    with clock.running():
        time.sleep(0.3)
        importlib.import_module(slow_module)
        importlib.import_module(slow_module)
    assert 0.4 <= clock.seconds < 0.65
    assert clock.cpu_seconds < clock.seconds
    sys.modules.pop("slow_inner")
    importlib.import_module("slow_inner")  # the clock has stopped
    assert clock.seconds < 0.65


def test_imports_that_a_job_made_the_warm_process_do_count_as_its_own():
    clock = ImportClock()
    clock.cpu_seconds = 0.25
    begun, before = time.time(), Before(time.time() - 4.0, 0.125, 3.0, 2.0)
    times = describe_times((begun, 0.0625), clock, before)
    assert times["main_began"] == pytest.approx(begun - 3.0, abs=0.02)
    assert times["import_seconds"] == 3.0
    assert times["cpu_seconds"]["start-up"] == pytest.approx(0.1875, abs=0.001)
    assert times["cpu_seconds"]["imports"] == 2.25
    (span,) = spans_of([{"rule": "train_sft", "times": times}])
    assert span.phases["start-up"] == pytest.approx(1.0, abs=0.05)


def test_collection_is_paused_for_imports_and_goes_on_after_a_failed_one():
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ModuleNotFoundError), importing("no_such_module"):
        pass
    assert gc.isenabled()
    gc.unfreeze()
