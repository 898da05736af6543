"""Schedules of the teacher's context: diluted, annealed, and chosen by the controller; a resumed run takes the same course."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pandas
import pytest
import tiny
from test_resume import KILLED_AT, STEPS, Killed, assert_same_outputs, at_call, kill

from selfdistill.study.methods.schedule import ScheduleSettings
from selfdistill.training.controller import Controller
from selfdistill.training.schedule import (
    ScheduledContextBuilder,
    ScheduledTrainer,
    levels_of_step,
    train_schedule,
)
from selfdistill.training.sdpo import METHOD_FILE
from selfdistill.training.teacher import RolloutBatch, user_turns

LADDER = {"leaner": ["answer-only", "no-text"]}
QUICK = LADDER | {"rule": "adaptive", "window": 1, "broad_from": 1, "kept_rate": 0.99, "recovered_rate": None}
"""A controller that steps down at once where the rate is below 99 % of the first step's."""


def settings(rule: str, **changes) -> ScheduleSettings:
    return ScheduleSettings(**tiny.SDPO | {"rule": rule, "steps": STEPS} | changes)


def test_dilution_shows_the_runs_context_with_its_share_and_else_the_leanest():
    levels = levels_of_step(settings("diluted", share=0.3, **LADDER), 0, 4000, seed=1)
    assert set(levels) == {0, 2} and levels.count(0) / 4000 == pytest.approx(0.3, abs=0.03)
    for share, level in ((0.0, 1), (1.0, 0)):
        assert set(levels_of_step(settings("diluted", share=share), 3, 50, seed=1)) == {level}


def test_annealing_goes_linearly_from_the_runs_context_to_the_leanest():
    own = settings("annealed", **LADDER)
    means = [sum(levels_of_step(own, step, 4000, seed=step)) / 4000 for step in range(STEPS)]
    assert means == pytest.approx([0, 0.5, 1, 1.5, 2], abs=0.03)
    assert set(levels_of_step(own, 0, 50, 0)) == {0} and set(levels_of_step(own, STEPS - 1, 50, 0)) == {2}


@pytest.mark.parametrize("rule", ["diluted", "annealed"])
def test_levels_depend_on_the_seed_of_the_step_only(rule):
    own = settings(rule)
    assert levels_of_step(own, 2, 64, 5) == levels_of_step(own, 2, 64, 5) != levels_of_step(own, 2, 64, 6)


class Step:
    """A trainer at one of its steps."""

    rollout_step = 2


def test_each_rollout_sees_the_context_of_its_level_on_any_number_of_processes(monkeypatch):
    texts = ["no </think> \\boxed{1}", "hmm </think> \\boxed{2}"] * 8
    batch = RolloutBatch(["q"] * 16, [1.0] * 16, texts.__getitem__, 4, 0.5, "r1", seed=7)
    builder = ScheduledContextBuilder(
        Step(), settings=settings("diluted"), context="solution", template="r1", thinking="prompt-tag"
    )
    levels = builder.levels(batch)
    both = [user_turns(context, batch) for context in ("solution", "answer-only")]
    whole = builder.user_turns(batch)
    assert set(levels) == {0, 1} and whole == [both[level][row] for row, level in enumerate(levels)]
    monkeypatch.setattr(
        "selfdistill.training.schedule.PartialState", lambda: SimpleNamespace(num_processes=2)
    )
    half = {"questions": ["q"] * 8, "rewards": [1.0] * 8}
    parts = [builder.user_turns(replace(batch, first=first, **half)) for first in (0, 8)]
    assert parts[0] + parts[1] == whole


def controller(**changes) -> Controller:
    return Controller(settings("adaptive", window=2, broad_from=4, **LADDER | changes), 3)


def course(own: Controller, steps) -> list[int]:
    """The levels of steps of two rollouts: (problem, score, epistemic words) each."""
    return [own.choose([problem] * 2, [score] * 2, [words] * 2) for problem, score, words in steps]


def test_the_controller_steps_down_when_the_rate_falls_at_broad_coverage_and_up_when_it_recovers():
    words = [10, 10, 4, 4, 4, 4, 9, 9, 10, 10]
    own = controller()
    assert course(own, [(f"p{i}", 0.5, n) for i, n in enumerate(words)]) == [0, 0, 0, 1, 1, 2, 2, 1, 1, 0]
    never = controller(recovered_rate=None)
    assert course(never, [(f"p{i}", 0.5, n) for i, n in enumerate(words)])[-4:] == [2, 2, 2, 2]
    assert own.history == [0, 0, 0, 1, 1, 2, 2, 1, 1, 0] and len(own.seen) == 10


def test_the_controller_stays_while_the_rate_is_kept():
    assert course(controller(), [(f"p{i}", 0.5, n) for i, n in enumerate([10, 10, 6, 5, 6, 5])]) == [0] * 6


@pytest.mark.parametrize(("score", "last"), [(0.9, 0), (0.5, 2)])
def test_at_narrow_coverage_the_controller_stays_where_recurring_problems_are_mastered(score, last):
    steps = [(f"p{i % 3}", score, n) for i, n in enumerate([10, 10, 10, 4, 4, 4, 4, 4, 4])]
    assert course(controller(), steps)[-1] == last


def test_a_restored_controller_goes_on_as_the_first():
    steps = [(f"p{i % 7}", 0.5, n) for i, n in enumerate([10, 10, 4, 4, 4, 9, 9, 9, 3, 3, 3])]
    whole, first, second = controller(), controller(), controller()
    course(whole, steps)
    course(first, steps[:5])
    second.restore(json.loads(json.dumps(first.state())))
    course(second, steps[5:])
    assert second == whole


def scheduled_job(folder, name: str, rule: str):
    """A run of a rule; a controller steps down at once where its rate is below 99 % of the first step's."""
    return tiny.job(folder, "sdpo-schedule", tiny.SDPO | QUICK | {"rule": rule, "steps": STEPS}, name=name)


@pytest.mark.parametrize("rule", ["diluted", "annealed", "adaptive"])
def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path, rule):
    whole, killed = scheduled_job(tmp_path, "whole", rule), scheduled_job(tmp_path, "killed", rule)
    train_schedule(whole, tiny.coin_reward)
    with pytest.raises(Killed):
        train_schedule(killed, at_call(KILLED_AT, kill))
    train_schedule(killed, tiny.coin_reward)
    assert_same_outputs(whole, killed)
    states = [
        json.loads((job.resume / f"checkpoint-{2 * STEPS}" / METHOD_FILE).read_text())
        for job in (whole, killed)
    ]
    assert states[0] == states[1]
    assert len(states[0]["history"]) == (STEPS if rule == "adaptive" else 0)
    levels = list(pandas.read_parquet(whole.output / "training.parquet")["context_level"])
    assert 0 <= min(levels) < max(levels) <= len(whole.settings.leaner)
    if rule == "adaptive":
        assert levels == states[0]["history"]


def test_without_its_controller_an_adaptive_run_would_end_elsewhere(tmp_path, monkeypatch):
    whole, killed = (
        scheduled_job(tmp_path, "whole", "adaptive"),
        scheduled_job(tmp_path, "killed", "adaptive"),
    )
    train_schedule(whole, tiny.coin_reward)
    with pytest.raises(Killed):
        train_schedule(killed, at_call(KILLED_AT, kill))
    monkeypatch.setattr(ScheduledTrainer, "restore_method_state", lambda self, state: None)
    train_schedule(killed, tiny.coin_reward)
    last = f"checkpoints/step-{STEPS}"
    assert not tiny.same_weights(whole.output / last, killed.output / last)
