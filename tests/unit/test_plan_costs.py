"""The plan before spending: FLOPs by hand, monotone ranges, what is done, and its command line."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from spoiled import on_gpus

from selfdistill.commands import plan
from selfdistill.commands.costs import (
    Assumptions,
    CostModel,
    attention_width,
    gpu_hours,
    parameters,
    response_tokens,
    token_flops,
)
from selfdistill.commands.disk import disk_section, evaluation_gb, kept_gb, room_gb, training_gb
from selfdistill.commands.ranges import Range
from selfdistill.records.paths import Paths
from selfdistill.study.load import load_study
from selfdistill.study.methods import ON_POLICY
from selfdistill.study.yaml import StudyError

CONFIG = Path(__file__).parents[2] / "config"
PAPER = load_study(CONFIG / "paper.yaml")
MINI = load_study(CONFIG / "mini.yaml")
JOBS = {"train_on_policy": 2, "make_report": 1}


def test_gpu_hours_by_hand():
    """10^9 tokens of a model of 10^9 parameters with negligible context: 2e18 FLOPs; at 1 TFLOP/s 2e6 s."""
    one = Range(1.0, 1.0, 1.0)
    hours = gpu_hours(1e9, one.times(1e9), one.times(0), 1, 1.0, one)
    assert hours.mid == pytest.approx(2e6 / 3600)
    assert gpu_hours(1e9, one.times(1e9), one.times(0), 5, 1.0, Range(1, 0.5, 0.1)) == pytest.approx(
        (hours.mid * 5, hours.mid * 10, hours.mid * 50)
    )


def test_attention_grows_with_the_context():
    assert token_flops(7e9, 0) == 14e9
    assert token_flops(7e9, 20000) - token_flops(7e9, 10000) == pytest.approx(4 * attention_width(7e9) * 5000)
    assert 100_000 < attention_width(7e9) < 150_000, "L x d of 7B models: 28 x 3584 to 36 x 4096"


@pytest.mark.parametrize(
    ("base", "count"),
    [
        ("deepseek-r1-distill-qwen-7b", 7e9),
        ("qwen3-8b", 8e9),
        ("qwen3-1.7b", 1.7e9),
        ("olmo-3-7b-instruct", 7e9),
    ],
)
def test_parameters_come_from_the_repositorys_name(base, count):
    assert parameters(PAPER, base) == count


def test_responses_are_cut_at_the_longest_allowed():
    assert response_tokens(PAPER, "deepseek-7b", 8192, Assumptions()) == (4000, 8192, 8192)
    assert response_tokens(PAPER, "qwen3-8b-nothink", 8192, Assumptions()) == (1000, 4000, 8192)


def test_every_estimate_is_an_ordered_range():
    for cost in plan.costs_of(PAPER, Assumptions()).values():
        assert cost.gpu_hours.low <= cost.gpu_hours.mid <= cost.gpu_hours.high
        assert cost.disk > 0


def test_rollout_tokens_and_checkpoints_of_a_run():
    (run,) = [r for r in PAPER.runs("teacher", methods=("sdpo",)) if r.teacher == "ema-0.05"]
    model = CostModel(PAPER, Assumptions())
    assert model.training(run).tokens.mid == 100 * 256 * 8 * 11000
    assert model.training(run).disk == pytest.approx(10 * 2 * 7e9 + 4 * 100 * 256 * 8 * 11000)
    assert model.training(run).resume == 2 * (4 + 4 + 8 + 4) * 7e9, (
        "weights twice, Adam, the teacher; the last two"
    )
    assert model.training(run).passing == 10 * 2 * 7e9
    (fixed,) = [r for r in MINI.runs("ablation") if r.variant == "topk-50"]
    kept = CostModel(MINI, Assumptions())
    assert kept.training(fixed).passing == 0
    assert kept.training(fixed).resume == 2 * 12 * kept.size(fixed.model)
    assert model.evaluation(run, 10).tokens.mid == 100 * 16 * 11000
    assert model.evaluation(run, 100).tokens.mid == 600 * 16 * 11000
    assert model.evaluation(PAPER.base_runs("deepseek-7b")[0], 0).tokens.mid == 600 * 16 * 11000


def test_richness_reads_every_response_of_section_3_under_its_contexts():
    """By hand: 100 problems, at most 4 unguided correct responses under 4 contexts, 24 guided under 2; half follow a response."""
    model, length = CostModel(PAPER, Assumptions(peak_tflops=1.0, training_utilisation=Range(1, 1, 1))), 11000
    tokens = 100 * length * (4 * 4 + 24 * 2 + 4 * 2 + 16)
    cost = model.richness("deepseek-7b")
    asked = PAPER.file.section_3.model_copy(update={"further": ["hint-parity", "hint-half"]})
    more = CostModel(replace(PAPER, file=PAPER.file.model_copy(update={"section_3": asked})), Assumptions())
    assert (
        more.richness("deepseek-7b").gpu_hours.mid
        > CostModel(PAPER, Assumptions()).richness("deepseek-7b").gpu_hours.mid
    )
    assert cost.gpu_hours.mid == pytest.approx(tokens * token_flops(7e9, 2 * length) / 1e12 / 3600)
    assert cost.gpus == 1
    planned = plan.costs_of(PAPER, Assumptions())
    assert (
        planned[Paths("paper").manifest(Paths("paper").richness("deepseek-7b", 0))].rule == "measure_richness"
    )


def test_the_teacher_reads_the_demonstration_too():
    """By hand: 10^9 parameters, responses of 1,000 tokens, demonstrations cut at 500: the teacher's pass has half as many tokens again."""
    model = CostModel(PAPER, Assumptions(peak_tflops=1.0, training_utilisation=Range(1, 1, 1)))
    (run, *_) = PAPER.runs("on-policy", methods=("sdpo",))
    model.size = lambda name: 1e9
    model.study = SimpleNamespace(settings_for=lambda run: SimpleNamespace(max_reprompt_tokens=500))
    tokens, length = Range(1e6, 1e6, 1e6), Range(1000, 1000, 1000)
    flops = 1.5e6 * token_flops(1e9, 1500) - 1e6 * token_flops(1e9, 1000)
    assert model.demonstrations(run, tokens, length).mid == pytest.approx(flops / 1e12 / 3600)


def test_only_methods_with_a_teacher_pay_for_demonstrations():
    model = CostModel(PAPER, Assumptions())
    runs = {r.method: r for r in PAPER.runs("on-policy") if r.model == "deepseek-7b"}
    made = {name: model.training(run) for name, run in runs.items()}
    more = made["sdpo"].gpu_hours.mid - made["grpo"].gpu_hours.mid
    length, tokens = Range(11000, 11000, 11000), made["grpo"].tokens.mid
    one_pass = gpu_hours(7e9, Range(tokens, tokens, tokens), length, 1, 989, Range(0.3, 0.3, 0.3)).mid
    assert more > 2 * one_pass


def test_twice_the_peak_is_half_the_hours():
    def total(peak):
        return sum(c.gpu_hours.mid for c in plan.costs_of(PAPER, Assumptions(peak_tflops=peak)).values())

    assert total(2000.0) == pytest.approx(total(1000.0) / 2)


def test_longest_chain_is_one_run_with_what_it_needs():
    costs = plan.costs_of(PAPER, Assumptions())
    chain, hours = plan.longest_chain(PAPER, costs)
    assert [cost.rule for cost in chain] == ["fetch_base", "train_on_policy", "evaluate"]
    assert hours.mid < 120
    assert hours.mid == pytest.approx(sum(cost.hours.mid for cost in chain))
    for run in PAPER.runs():
        assert costs[Paths("paper").run_manifest(run)].hours.mid <= hours.mid


def test_longest_chain_ends_in_the_longest_evaluation_under_an_intervention_too():
    tables = PAPER.file.tables | {"interventions": ["on-policy"]}
    benchmarks = PAPER.file.benchmarks.model_copy(update={"interventions": ["ban", "force"]})
    study = replace(PAPER, file=PAPER.file.model_copy(update={"tables": tables, "benchmarks": benchmarks}))
    chain, _ = plan.longest_chain(study, plan.costs_of(study, Assumptions()))
    assert [cost.rule for cost in chain][-1] == "evaluate_intervention", "to force reads with the base too"


def test_every_moving_teacher_is_kept_to_resume_from():
    study = load_study(CONFIG / "paper.yaml", experiments=["on-policy", "variants"])
    model, runs = CostModel(study, Assumptions()), study.runs(methods=("sdpo", "rlsd"))
    kept = {run.teacher: model.training(run).resume for run in runs if run.model == "deepseek-7b"}
    assert kept["snapshot-10"] > kept["fixed"] > 0


def test_page_tells_jobs_hours_disk_and_every_assumption():
    page = plan.render(PAPER, Assumptions(), JOBS)
    for part in (
        "jobs to run: 3",
        "train_on_policy             2",
        "GPU-hours per rule",
        "longest chain:",
        "disk (GB):",
        "resume folders beside it, while trainings run: up to 320 each",
        "models that are deleted after their evaluation (keep_checkpoints: false)",
    ):
        assert part in page
    for name in ("--peak-tflops", "--training-utilisation", "--thinking-tokens", "--kept-share"):
        assert name in page
    assert "no job of this study requests a GPU" in plan.render(MINI, Assumptions(), JOBS)


def test_a_job_that_outlasts_its_time_limit_is_said_to_be_submitted_again_and_the_profile_allows_it():
    assert not plan.over_time(PAPER, plan.costs_of(PAPER, Assumptions()))
    study = on_gpus(PAPER, 4)
    costs = plan.costs_of(study, Assumptions())
    notes = plan.over_time(study, costs)
    assert [note.split("longest ")[1].split()[0] for note in notes] == ["train_on_policy"]
    asked = study.resources_for("rl").runtime / 60
    hours = max(cost.hours.mid for cost in costs.values() if cost.rule == "train_on_policy")
    assert asked < hours < 2 * asked
    assert "with a time limit of 72 h (resources.rl.runtime): 2 submissions, at worst 6;" in notes[0]
    profile = yaml.safe_load((CONFIG.parent / "profiles" / "slurm" / "config.yaml").read_text())
    worst = max(int(note.split("at worst ")[1].split(";")[0]) for note in notes)
    assert profile["retries"] >= worst - 1
    assert not plan.over_time(MINI, plan.costs_of(MINI, Assumptions()))


def test_evaluation_costs_what_the_run_is_evaluated_on():
    model = plan.CostModel(PAPER, Assumptions())
    runs = {run.dataset: run for run in PAPER.runs() if run.model == "olmo3-7b" and run.method == "grpo"}
    math, chemistry = (model.evaluation(runs[name], 100).tokens.mid for name in ("dapo", "chemistry"))
    assert chemistry / math == pytest.approx((600 + 210) / 600)


def test_hours_of_each_benchmark_add_up_and_tell_what_every_checkpoint_would_cost():
    costs = plan.costs_of(PAPER, Assumptions())
    total = sum(cost.gpu_hours.mid for cost in costs.values() if cost.rule == "evaluate")
    (line,) = plan.evaluation_section(PAPER, Assumptions())
    hours = {
        name: float(value.replace(",", ""))
        for name, value in re.findall(r"([a-z][\w-]+) ([\d,]+)(?: at|,|$)", line)
    }
    assert set(hours) == set(PAPER.all_benchmarks())
    assert sum(hours.values()) == pytest.approx(total, abs=3)
    found = re.search(
        r"math500 (\d+) at 181 of 343 checkpoints \(([\d,]+) at all: benchmarks.every_checkpoint\)", line
    )
    assert float(found[2].replace(",", "")) > 2 * float(found[1])
    assert plan.evaluation_section(MINI, Assumptions()) == []


def test_a_bound_on_disk_leaves_room_for_trainings_beside_what_stays():
    costs = plan.costs_of(PAPER, Assumptions())
    kept, room = kept_gb(costs), room_gb(PAPER, costs)
    assert PAPER.file.disk_gb - 1 <= kept + room <= PAPER.file.disk_gb == 1000
    ema = next(run for run in PAPER.runs() if run.teacher == "ema-0.05" and run.dataset == "dapo")
    assert training_gb(PAPER, ema) == (10 * 2 + 2 * 5 * 4) * 7
    assert evaluation_gb(PAPER, ema) == 2 * 7 and evaluation_gb(PAPER, PAPER.base_runs()[0]) == 0
    lines = disk_section(PAPER, costs, set())
    assert f"at most 1000 at any time (disk_gb): {math.ceil(kept)} of results that stay" in lines[-1]
    assert room_gb(MINI, plan.costs_of(MINI, Assumptions())) is None
    little = replace(PAPER, file=PAPER.file.model_copy(update={"disk_gb": 500}))
    with pytest.raises(
        StudyError, match=r"paper.yaml: disk_gb: 500 is too little: .* must be at least 7\d\d"
    ):
        room_gb(little, costs)


def test_what_is_done_is_not_counted_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = plan.render(PAPER, Assumptions(), JOBS)
    manifest = Path(Paths("paper").run_manifest(PAPER.runs(methods=("sdpo",))[0]))
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"wall_seconds": 10}))
    after = plan.render(PAPER, Assumptions(), JOBS)
    assert "done already: 0 of" in before and "done already: 1 of" in after
    assert f"{len(PAPER.runs(methods=ON_POLICY))} jobs, 1 done" in after


def test_options_override_the_assumptions():
    options, assumed = plan.parse(
        ["--peak-tflops", "2250", "--plain-tokens", "5000", "--kept-share", "0.3,0.2,0.1"]
    )
    assert options.study == "paper"
    assert assumed.peak_tflops == 2250
    assert assumed.plain_tokens == (5000, 5000, 5000)
    assert assumed.kept_share == (0.3, 0.2, 0.1)
    with pytest.raises(SystemExit):
        plan.parse(["--plain-tokens", "1,2"])
    with pytest.raises(SystemExit):
        plan.parse(["--kept-share", "-1"])
