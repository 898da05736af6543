"""Linear contrasts, the tests beside them, the majority vote: against brute force and hand-made samples."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from selfdistill.statistics import (
    BASE_GROUP,
    Arm,
    compare,
    contrasts,
    estimates,
    group_shifts,
    holm,
    majority_vote,
    minimum_detectable_effect,
    pooled,
)


def arm(
    chance: float, *, seeds: int = 2, problems: int = 40, benchmark: str = "one", start: int = 0
) -> pd.DataFrame:
    """Samples of a run whose problems differ in difficulty, the same for every arm of a benchmark."""
    draw = np.random.default_rng([start, seeds, int(1000 * chance)])
    hard = np.random.default_rng(len(benchmark)).normal(0, 0.2, problems)
    grid = (
        pd.MultiIndex.from_product(
            [range(seeds), [f"p{n}" for n in range(problems)], range(4)],
            names=["seed", "problem_id", "sample_index"],
        )
        .to_frame(index=False)
        .assign(replicate=0)
    )
    right = draw.random(len(grid)) < np.clip(chance + np.tile(np.repeat(hard, 4), seeds), 0, 1)
    return grid.assign(benchmark=benchmark, correct=right, response_tokens=np.where(right, 10, 20))


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(("seeds", "reference_seeds"), [(1, 1), (3, 3), (3, 2)])
def test_two_arms_are_the_contrast_that_the_tables_show(
    relative: bool, seeds: int, reference_seeds: int
) -> None:
    plain = {"model": "m", "method": "sdpo", "context": "solution", "teacher": "fixed", "dataset": "chain"}
    run = plain | {"coverage": "full", "variant": "default", "step": 40}
    trained, base = arm(0.4, seeds=seeds), arm(0.6, seeds=reference_seeds)
    samples = pd.concat([trained.assign(**run), base.assign(**run | BASE_GROUP)])
    (row,) = contrasts(samples, BASE_GROUP, metrics=["accuracy"], relative=relative).to_dict("records")
    found = compare([Arm(trained, 1), Arm(base, -1, over=float(relative))], "accuracy")
    assert found.effect == pytest.approx(row["difference"])
    assert (found.low, found.high) == pytest.approx((row["low"], row["high"]))
    assert found.estimates == pytest.approx((row["estimate"], row["reference"]))
    assert (found.n_problems, found.k, found.n_seeds) == (40, 4, min(seeds, reference_seeds))


def test_one_arm_is_its_estimate() -> None:
    rows = arm(0.5)
    (row,) = estimates(rows, by=["benchmark"], metrics=["accuracy"]).to_dict("records")
    found = compare([Arm(rows, 1)], "accuracy")
    assert (found.effect, found.low, found.high) == pytest.approx((row["estimate"], row["low"], row["high"]))


def test_a_difference_in_differences_over_two_benchmarks() -> None:
    rows = [arm(0.7), arm(0.4), arm(0.6, benchmark="other"), arm(0.5, benchmark="other")]
    found = compare([Arm(own, weight) for own, weight in zip(rows, (1, -1, -1, 1), strict=True)], "accuracy")
    means = [own["correct"].mean() for own in rows]
    assert found.effect == pytest.approx((means[0] - means[1]) - (means[2] - means[3]))
    assert found.low < found.effect < found.high
    assert found.p_above(0.0) < 0.025 < found.p_below(0.0)


def test_an_arm_over_two_benchmarks_weighs_them_the_same() -> None:
    both = pd.concat([arm(0.9, problems=10), arm(0.3, problems=90, benchmark="other")])
    found = compare([Arm(both, 1)], "accuracy")
    assert found.effect == pytest.approx(both.groupby("benchmark")["correct"].mean().mean())


def test_arms_are_compared_over_their_common_problems_only() -> None:
    left, right = arm(0.5, problems=40), arm(0.5, problems=30)
    found = compare([Arm(left, 1), Arm(right, -1)], "accuracy")
    shared = left[left["problem_id"].isin(set(right["problem_id"]))]
    assert found.n_problems == 30
    assert found.effect == pytest.approx(shared["correct"].mean() - right["correct"].mean())


def test_p_values_agree_with_the_interval_and_move_with_the_bound() -> None:
    found = compare([Arm(arm(0.45), 1), Arm(arm(0.6), -1)], "accuracy")
    assert (found.p_below(0.0) < 0.025) == (found.high < 0)
    assert found.p_below(found.high) == pytest.approx(0.025)
    assert found.p_above(found.low) == pytest.approx(0.025)
    assert found.p_below(-1.0) > 1 - 1e-3
    assert found.p_below(1.0) < 1e-3


def replicated(shifts: list[float], start: int, seeds: int = 1) -> pd.DataFrame:
    """Samples of one run in several replicates, whose bases differ by these shifts."""
    frames = [
        arm(0.5 + shift, seeds=seeds, start=start + number).assign(replicate=number)
        for number, shift in enumerate(shifts)
    ]
    return pd.concat(frames, ignore_index=True)


def test_replicates_are_draws_paired_by_base_and_their_seeds_are_averaged() -> None:
    shifts = [-0.3, 0.0, 0.3]
    base, trained = replicated(shifts, 0, seeds=2), replicated([shift - 0.1 for shift in shifts], 10, seeds=2)
    found = compare([Arm(trained, 1), Arm(base, -1)], "accuracy")
    alone = compare([Arm(base, 1)], "accuracy")
    assert (found.drawn, found.n_draws, found.n_replicates, found.n_seeds) == ("replicate", 3, 3, 2)
    assert found.effect == pytest.approx(trained["correct"].mean() - base["correct"].mean())
    assert found.high - found.low < 0.5 * (alone.high - alone.low), "what the bases differ cancels"
    numbers = base.groupby("replicate")["correct"].mean()
    assert alone.contrast.draws[0] == pytest.approx(numbers.var() / 3)
    assert alone.contrast.draw_freedom[0] == 2


def test_a_run_is_compared_with_the_bases_of_its_own_replicates() -> None:
    base, trained = replicated([0.0, 0.3, -0.2], 0), replicated([0.0, 0.3], 10)
    found = compare([Arm(trained, 1), Arm(base, -1)], "accuracy")
    own = base[base["replicate"] < 2]
    assert found.n_replicates == 2
    assert found.effect == pytest.approx(trained["correct"].mean() - own["correct"].mean())
    with pytest.raises(ValueError, match="share no replicate"):
        compare([Arm(trained, 1), Arm(base[base["replicate"] == 2], -1)], "accuracy")


def test_problems_that_each_replicate_draws_anew_count_once() -> None:
    """Section 3 and training scores: the variance is that of the means of replicates, as if each were one number."""
    frames = [
        rows.assign(problem_id=f"{n}/" + rows["problem_id"])
        for n, rows in replicated([0.1, 0.0, -0.1], 5).groupby("replicate")
    ]
    found = compare([Arm(pd.concat(frames), 1)], "accuracy")
    means = [rows["correct"].mean() for rows in frames]
    assert found.effect == pytest.approx(np.mean(means))
    assert found.student.variance[0] == pytest.approx(np.var(means, ddof=1) / 3, rel=0.05)


def test_pooled_contrasts_learn_from_each_other_and_one_alone_is_cautious() -> None:
    runs = [
        compare(
            [Arm(arm(0.4, seeds=3, start=10 * n), 1), Arm(arm(0.5, seeds=3, start=10 * n), -1)], "accuracy"
        )
        for n in range(6)
    ]
    together = pooled(runs, range(6))
    expected = np.mean([one.contrast.ratio[0] for one in runs[1:]])
    draws = (2 * runs[0].contrast.draws[0] + 10 * expected * runs[0].contrast.noise[0]) / 12
    rest = max(runs[0].contrast.problems[0] - runs[0].contrast.noise[0], 0)
    assert together[0].student.variance[0] == pytest.approx(rest + draws)
    assert together[0].effect == runs[0].effect
    (alone,) = pooled(runs[:1], [0])
    assert alone.student.freedom[0] <= 2


def test_a_mean_over_models_and_a_share_by_hand() -> None:
    rows = [arm(chance, start=n) for n, chance in enumerate((0.4, 0.6, 0.3, 0.7))]
    rate = [own["correct"].mean() for own in rows]
    arms = [Arm(rows[0], 1, 0, 0), Arm(rows[1], -1, 1, 0), Arm(rows[2], 1, 0, 1), Arm(rows[3], -1, 1, 1)]
    assert compare(arms, "accuracy").effect == pytest.approx((rate[0] / rate[1] + rate[2] / rate[3]) / 2 - 1)
    share = [Arm(rows[0], 1), Arm(rows[1], -1, -1), Arm(rows[2], 0, 1)]
    assert compare(share, "accuracy").effect == pytest.approx((rate[0] - rate[1]) / (rate[2] - rate[1]))
    gap = [Arm(rows[0], 1), Arm(rows[0], -1, metric="pass@4")]
    passed = rows[0].groupby(["seed", "problem_id"])["correct"].any().mean()
    assert compare(gap, "accuracy").effect == pytest.approx(rate[0] - passed)


def test_groups_may_have_other_problems_and_those_that_they_share_count_as_shared() -> None:
    """Two models, each a difference on problems of its own: their variances add up; on the same problems, their influences do."""

    def difference(start: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        return arm(0.6, seeds=1, start=start), arm(0.4, seeds=1, start=start + 10)

    def renamed(frames: tuple[pd.DataFrame, pd.DataFrame], shift: int) -> list[pd.DataFrame]:
        names = {f"p{n}": f"p{n + shift}" for n in range(40)}
        return [frame.assign(problem_id=frame["problem_id"].map(names)) for frame in frames]

    def mean(second: list[pd.DataFrame]) -> tuple[float, float]:
        """Effect and variance of the mean over two groups."""
        rows = [*difference(0), *second]
        found = compare(
            [
                Arm(frame, weight, group=group)
                for frame, weight, group in zip(rows, (1, -1, 1, -1), (0, 0, 1, 1), strict=True)
            ],
            "accuracy",
        )
        return found.effect, float(found.contrast.problems[0])

    single = [
        compare([Arm(plus, 1), Arm(minus, -1)], "accuracy") for plus, minus in (difference(0), difference(1))
    ]
    effect, variance = mean(renamed(difference(1), 40))
    assert effect == pytest.approx(sum(one.effect for one in single) / 2)
    assert variance == pytest.approx(sum(float(one.contrast.problems[0]) for one in single) / 4)

    by_problem = [
        plus.groupby("problem_id")["correct"].mean() - minus.groupby("problem_id")["correct"].mean()
        for plus, minus in (difference(0), difference(1))
    ]
    assert mean(renamed(difference(1), 0)) == pytest.approx((effect, sum(by_problem).div(2).var() / 40))

    half = by_problem[1].rename(lambda name: f"p{int(name[1:]) + 20}")
    moved = [(one - one.mean()) / 80 for one in (by_problem[0], half)]
    expected = moved[0].add(moved[1], fill_value=0).pow(2).sum() * 40 / 39
    assert mean(renamed(difference(1), 20)) == pytest.approx((effect, expected))


def test_degenerate_contrasts() -> None:
    same = arm(0.5)
    nothing = compare([Arm(same, 1), Arm(same, -1)], "accuracy")
    assert (nothing.effect, nothing.low, nothing.high) == (0, 0, 0)
    assert nothing.p_above(0.0) == nothing.p_below(0.0) == 1.0
    assert math.isnan(compare([Arm(arm(0.5, problems=1), 1)], "accuracy").low)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("right", [0, 1])
def test_a_ratio_whose_divisor_may_be_zero_has_no_interval(right: int) -> None:
    """With one right problem of ten the interval of the divisor holds 0, where the ratio is unknown; with none there is no ratio."""
    base = arm(0.5, problems=10)
    base["correct"] = base["problem_id"].isin([f"p{n}" for n in range(right)])
    trained = base.assign(correct=base["problem_id"].isin([f"p{n}" for n in range(5)]))
    found = compare([Arm(trained, 1), Arm(base, -1, over=1)], "accuracy")
    assert found.effect == pytest.approx(4.0 if right else math.nan, nan_ok=True)
    assert np.isnan([found.low, found.high, found.p_above(0)]).all()


def test_contrasts_that_have_no_answer_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one arm"):
        compare([], "accuracy")
    with pytest.raises(ValueError, match="share no problem of one"):
        compare(
            [Arm(arm(0.5), 1), Arm(arm(0.5).replace({f"p{n}": f"q{n}" for n in range(40)}), -1)], "accuracy"
        )
    with pytest.raises(ValueError, match="lack"):
        compare([Arm(arm(0.5), 1)], "epistemic_word")


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_majority_vote_against_all_subsets(k: int) -> None:
    """A tie is broken fairly, and empty answers win only alone."""
    answers = ["4", "4", "7", "", "9"]
    right = {"4": True, "7": False, "": False, "9": False}

    def vote(chosen: tuple[str, ...]) -> float:
        known = [answer for answer in chosen if answer] or list(chosen)
        counts = {answer: known.count(answer) for answer in known}
        tied = [answer for answer, count in counts.items() if count == max(counts.values())]
        return float(np.mean([right[answer] for answer in tied]))

    chosen = [tuple(answers[place] for place in places) for places in itertools.combinations(range(5), k)]
    flat = [answer for ballot in chosen for answer in ballot]
    ballots = np.repeat(np.arange(len(chosen)), k)
    votes = majority_vote(ballots, np.array(flat, dtype=object), np.array([right[answer] for answer in flat]))
    assert votes == pytest.approx([vote(ballot) for ballot in chosen])


def test_maj_at_k_of_samples() -> None:
    rows = arm(0.5, seeds=1, problems=3)
    rows["extracted_answer"] = ["1", "1", "2", "3", "5", "5", "", "", "", "", "", ""]
    rows["correct"] = [True, True, False, False, False, False, False, False, False, False, False, False]
    (row,) = estimates(rows, by=["benchmark"], metrics=["maj@k"]).to_dict("records")
    assert row["estimate"] == pytest.approx(1 / 3)


def test_holm_by_hand() -> None:
    adjusted = holm([0.01, 0.04, math.nan, 0.03])
    assert adjusted[[0, 1, 3]] == pytest.approx([0.03, 0.06, 0.06])
    assert math.isnan(adjusted[2])
    assert np.isnan(holm([math.nan])).all()


def test_minimum_detectable_effect_shrinks_with_problems_samples_and_seeds() -> None:
    few = minimum_detectable_effect(30, 16, 3)
    assert 0 < minimum_detectable_effect(500, 16, 3) < few < 0.5
    assert few < minimum_detectable_effect(30, 4, 3)
    assert minimum_detectable_effect(30, 16, 5) < few


def test_group_shifts_by_hand_and_their_interval_over_problems() -> None:
    draw = np.random.default_rng(3)
    base = pd.DataFrame(draw.poisson(5, (60, 3)), columns=["wait", "hmm", "so"], dtype=float)
    trained = base - [2.0, 1.0, 0.0] + draw.normal(0, 0.5, (60, 3))
    epistemic = np.array([True, True, False])
    frame = group_shifts(trained, base, {"epistemic": epistemic, "other": ~epistemic}).set_index("group")
    change = (trained - base).mean()
    assert frame.loc["epistemic", "mean"] == pytest.approx((change["wait"] + change["hmm"]) / 2)
    assert frame.loc["other", "size"] == pytest.approx(abs(change["so"]))
    assert frame.loc["epistemic", "mean_low"] < -1.5 < frame.loc["epistemic", "mean_high"] < 0
    assert frame.loc["other", "mean_low"] < 0 < frame.loc["other", "mean_high"]
    with pytest.raises(ValueError, match="same problems and words"):
        group_shifts(trained.iloc[1:], base, {})
