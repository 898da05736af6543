"""Study files: the grid that they declare, and the settings of its runs."""

import subprocess
import sys
from dataclasses import replace

import pytest
from spoiled import CONFIG, spoil

from selfdistill.claims.ledger import load_ledger
from selfdistill.claims.selection import benchmarks_of, plan_claims
from selfdistill.study import jobs
from selfdistill.study.jobs import evaluation_params, numbers_params, training_params
from selfdistill.study.load import load_study
from selfdistill.study.methods import METHODS
from selfdistill.study.shown import runs_shown
from selfdistill.study.yaml import StudyError, read_yaml
from selfdistill.vocabulary.runs import Run

STUDIES = sorted(path.stem for path in CONFIG.glob("*.yaml") if "study" in read_yaml(path))

SDPO = {
    "experiment": "x",
    "models": ["r1-mini"],
    "method": "sdpo",
    "contexts": ["solution"],
    "teachers": ["fixed"],
    "dataset": "chain",
}


@pytest.mark.parametrize("name", STUDIES)
def test_studies_load_and_all_runs_have_settings(name):
    study = load_study(CONFIG / f"{name}.yaml")
    assert study.name == name
    assert study.runs() or study.file.evaluate
    for run in study.runs():
        settings = study.settings_for(run)
        assert settings.learning_rate > 0
        assert getattr(settings, "backend", study.file.backend) == study.file.backend


def test_checkpoints_to_resume_from_are_no_param_of_a_training(folder):
    run = load_study(CONFIG / "mini.yaml").runs(methods=("grpo",))[0]
    kept = load_study(CONFIG / "mini.yaml")
    training = read_yaml(CONFIG / "mini.yaml")["training"]
    changed = spoil(folder, {"training": training | {"rl": training["rl"] | {"resume_every": 1}}})
    assert changed.settings_for(run).resume_every == 1 and kept.settings_for(run).resume_every is None
    assert training_params(changed, run).model_dump() == training_params(kept, run).model_dump()


def test_lists_are_crossed_and_seeds_come_from_the_study(folder):
    runs = [
        {
            "experiment": "one",
            "models": ["r1-mini", "olmo3-mini"],
            "method": "grpo",
            "dataset": "chain",
            "coverages": [8, "full"],
        }
    ]
    changes = {"runs": runs, "replicates": [0, 2], "seeds": [0, 3], "figures": {}, "tables": {}}
    study = spoil(folder, changes)
    assert {str(run) for run in study.runs()} == {
        f"{model}/grpo/none/none/chain/{coverage}/default/{replicate}/{seed}"
        for model in ("r1-mini", "olmo3-mini")
        for coverage in (8, "full")
        for replicate in (0, 2)
        for seed in (0, 3)
    }
    assert {(run.model, run.replicate, run.seed) for run in study.base_runs()} == {
        (model, *draw) for model in ("r1-mini", "olmo3-mini") for draw in ((0, 0), (0, 3), (2, 0), (2, 3))
    }
    assert len({run.draw_seed for run in study.runs()}) == 4


def test_a_replicate_draws_what_the_mini_study_makes_and_no_released_weights():
    study = load_study(CONFIG / "mini.yaml", replicates=[0, 2])
    assert study.base_draws() == [
        (name, replicate)
        for base in ("r1-mini", "qwen3-mini", "olmo3-mini")
        for name in (base, f"{base}-polished")
        for replicate in (0, 2)
    ]
    assert ("r1-mini", 2) in study.section_3_draws()
    released = load_study(CONFIG / "paper.yaml", replicates=[0, 2])
    assert {replicate for _, replicate in released.base_draws()} == {0}
    assert {replicate for _, replicate in released.section_3_draws()} == {0, 2}


def test_everything_drawn_differs_between_replicates():
    study = load_study(CONFIG / "mini.yaml", replicates=[0, 1])
    run = study.runs(methods=("grpo",))[0]
    other = replace(run, replicate=1)
    made = (
        lambda r: jobs.base_params(study, "r1-mini", r).seed,
        lambda r: jobs.training_set_params(study, "chain", r).seed,
        lambda r: jobs.subset_params(study, "chain", 8, r).seed,
        lambda r: jobs.section_3_params(study, "r1-mini", r).run.draw_seed,
        lambda r: jobs.training_params(study, (run, other)[r]).run.draw_seed,
        lambda r: jobs.evaluation_params(study, (run, other)[r], 20).run.draw_seed,
    )
    assert all(make(0) != make(1) for make in made)
    assert all(make(0) == 0 for make in made)  # replicate 0 has the streams of a study without replicates


def test_a_run_of_two_experiments_is_one_run():
    study = load_study(CONFIG / "mini.yaml")
    run = Run("r1-mini", "sdpo", "solution", "fixed", "chain", "full", "default", 0, 0)
    assert study.runs().count(run) == 1
    assert set(study.experiments_of(run)) == {"on-policy", "teacher", "ablation"}
    assert run in study.runs("on-policy")
    assert run in study.runs("teacher")
    assert run not in study.runs("coverage")


def test_variant_overrides_single_keys():
    study = load_study(CONFIG / "mini.yaml")
    default = study.resolve("grpo", "default")
    equal = study.resolve("grpo", "equal-lr")
    assert equal.learning_rate == study.resolve("sdpo", "default").learning_rate != default.learning_rate
    overridden = study.file.variants["equal-lr"]["grpo"]
    assert equal.model_dump() == default.model_dump() | overridden
    assert set(overridden) == {"learning_rate", "steps"}, "the control runs as long as SDPO, at its rate"


def test_sampling_of_a_model_goes_over_the_study():
    study = load_study(CONFIG / "paper.yaml")
    assert study.sampling_for("deepseek-7b").model_dump() == {
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": 0,
        "max_new_tokens": 38912,
    }
    assert study.sampling_for("qwen3-8b-nothink").top_p == 0.8
    assert study.sampling_for("deepseek-7b", 100).max_new_tokens == 100


def test_labels_are_no_part_of_what_results_depend_on():
    study = load_study(CONFIG / "mini.yaml")
    params = [training_params(study, run).model_dump() for run in study.runs()]
    params.append(evaluation_params(study, study.base_runs()[0], 0).model_dump())
    params.append(study.benchmark_spec("in-domain"))
    assert "label" not in repr(params)


@pytest.mark.parametrize("method", [name for name, own in METHODS.items() if own.has_teacher])
def test_every_method_with_a_teacher_can_be_planned(folder, method):
    asked = {
        "runs.0": SDPO | {"method": method},
        "training.schedule": {"rule": "adaptive"},
        "training.positions": {"at": ["opener"]},
    }
    asked |= {f"training.{name}": {"top_k": None} for name in ("projps", "purified")}
    study = spoil(folder, asked)
    run = next(run for run in study.runs() if run.method == method)
    assert training_params(study, run).settings.learning_rate > 0


def test_sft_on_matched_sets_has_the_settings_and_checkpoints_of_sft():
    study = load_study(CONFIG / "test.yaml")
    pairs = list(zip(study.runs("equal-tokens"), study.runs("off-policy"), strict=True))
    assert [(one.method, other.method) for one, other in pairs] == 2 * [("sft-matched", "sft")]
    for one, other in pairs:
        assert one.context == other.context and study.steps_of(one) == study.steps_of(other)
        assert study.settings_for(one).model_dump() == study.settings_for(other).model_dump()


def test_loading_a_study_imports_nothing_heavy():
    code = "import sys; from selfdistill.study.load import load_study; load_study(sys.argv[1]); print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(CONFIG / "mini.yaml")], check=True, capture_output=True, text=True
    )
    assert not {"'torch'", "'pandas'", "'numpy'", "'transformers'"} & set(
        done.stdout.strip("[]\n").split(", ")
    )


def test_only_runs_on_chemistry_and_their_bases_are_evaluated_on_its_test():
    study = load_study(CONFIG / "paper.yaml")
    common = study.file.benchmarks.names
    trained = {run.model for run in study.runs() if run.dataset == "chemistry"}
    assert trained == {"olmo3-7b", "qwen3-8b-nothink"}
    for run in study.base_runs() + study.runs():
        chemistry = run.dataset == "chemistry" or (run.method == "base" and run.model in trained)
        assert study.benchmarks_of(run) == sorted(common + ["chemistry-test"] * chemistry), run
        last = study.steps_of(run)[-1]
        assert evaluation_params(study, run, last).benchmarks == study.benchmarks_of(run)
    assert study.ood() == common, "the mean over other distributions is the paper's"


def test_a_base_and_a_run_after_training_have_as_many_responses_as_their_key_says(mini):
    grpo = next(run for run in mini.runs() if run.method == "grpo")
    declared = numbers_params(mini, grpo.model).declared
    for step in mini.steps_of(grpo):
        job = evaluation_params(mini, grpo, step)
        assert job.samples == (8 if step == mini.steps_of(grpo)[-1] else 2)
        assert job.samples in {one.samples for one in declared if one.step == step}
    base = next(iter(mini.base_runs()))
    assert evaluation_params(mini, base, 0).samples == 8


def test_a_benchmark_of_some_experiments_is_evaluated_at_every_checkpoint_of_these_and_at_the_ends_of_others():
    study = load_study(CONFIG / "paper.yaml")
    chosen = study.file.benchmarks.every_checkpoint
    assert set(chosen) == {"math500"}
    for run in study.base_runs() + study.runs():
        *early, last = study.steps_of(run)
        assert study.benchmarks_at(run, last) == study.benchmarks_of(run)
        everywhere = bool(set(study.experiments_of(run)) & set(chosen["math500"]))
        for step in early:
            assert ("math500" in study.benchmarks_at(run, step)) == everywhere, (run, step)
            assert set(study.file.benchmarks.names) - {"math500"} <= set(study.benchmarks_at(run, step))
    (sft, *_) = study.runs(methods=("sft",))
    assert study.steps_of(sft) == ("last",) and study.steps_of(study.base_runs()[0]) == (0,)
    with pytest.raises(StudyError, match=r"paper.yaml: runs: .* is not evaluated at step 7; allowed: 10, 20"):
        evaluation_params(study, study.runs("on-policy")[0], 7)


def test_the_paper_s_figures_and_claims_have_every_benchmark_where_they_need_it():
    study = load_study(CONFIG / "paper.yaml")
    parts = plan_claims(load_ledger(CONFIG / "claims.yaml"), study)
    assert not [part for part in parts if "is not evaluated" in part.missing]
    for run in runs_shown(study, "figure8"):
        assert all("math500" in study.benchmarks_at(run, step) for step in study.steps_of(run))


def test_a_claim_on_a_step_without_one_of_its_benchmarks_says_so(folder):
    path = folder / "paper.yaml"
    text = path.read_text()
    path.write_text(text.replace("coverage-full, hybrid-student]}", "coverage-full]}"))
    parts = plan_claims(load_ledger(CONFIG / "claims.yaml"), load_study(path))
    (early, later, _) = (part for part in parts if part.claim == "C17" and part.metric == "accuracy")
    assert early.arms == later.arms == ()
    assert "/hybrid/0/0 is not evaluated on math500 at step 30" in early.missing
    assert early.missing.endswith("paper.yaml: benchmarks.every_checkpoint.math500)")


def test_benchmarks_of_a_data_set_stand_for_their_role_and_for_nothing_else_in_the_claims():
    study = load_study(CONFIG / "paper.yaml")
    assert benchmarks_of("narrow", study) == ["chemistry-test"]
    assert benchmarks_of("ood", study) == study.file.benchmarks.names
    parts = plan_claims(load_ledger(CONFIG / "claims.yaml"), study)
    assert "C3" in {part.claim for part in parts if part.arms}, "a claim on each benchmark"
    assert "chemistry-test" not in {part.benchmark for part in parts}


def test_the_study_file_says_which_benchmark_has_a_role(folder):
    mini = folder / "mini.yaml"
    text = mini.read_text(encoding="utf-8")
    assert benchmarks_of("aime24", load_study(mini)) == ["paired"], "the one that is harder for the bases"
    mini.write_text(text.replace("aime24: paired", "aime24: longer"), encoding="utf-8")
    assert benchmarks_of("aime24", load_study(mini)) == ["longer"]
    mini.write_text(text.replace("aime24: paired", "aime24: pairs"), encoding="utf-8")
    with pytest.raises(StudyError, match=r"mini\.yaml: benchmarks\.roles: .*pairs.*allowed: .*paired"):
        load_study(mini)


def test_a_plumbing_study_judges_no_claim():
    study = load_study(CONFIG / "smollm.yaml")
    parts = plan_claims(load_ledger(CONFIG / "claims.yaml"), study)
    assert parts
    assert {(part.arms, part.missing) for part in parts} == {((), "the study only tests the pipeline")}
