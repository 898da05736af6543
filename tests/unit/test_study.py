"""Study files: the grid that they declare, and the messages for what is wrong with them."""

import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from spoiled import CONFIG, spoil

from selfdistill.claims.ledger import load_ledger
from selfdistill.claims.selection import benchmarks_of, plan_claims
from selfdistill.study import jobs
from selfdistill.study.jobs import evaluation_params, training_params
from selfdistill.study.load import check_draw_words, load_study, study_from_config
from selfdistill.study.methods import METHODS
from selfdistill.study.shown import runs_shown
from selfdistill.study.yaml import StudyError, read_yaml
from selfdistill.vocabulary.runs import Run

STUDIES = ("mini", "test", "paper", "single_gpu", "released", "smollm", "smoke_gpu", "smoke_random")


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


GRPO = {"experiment": "x", "models": ["r1-mini"], "method": "grpo", "dataset": "chain"}
SDPO = GRPO | {"method": "sdpo", "contexts": ["solution"], "teachers": ["fixed"]}
SFT = GRPO | {"method": "sft", "contexts": ["unguided"]}
MISTAKES = {
    "thinking of a teacher without a switch": (
        {"runs.2.variants": ["hybrid"]},
        ["runs.2.models: variant hybrid switches the teacher's thinking, which r1-mini cannot", "qwen3-mini-think"],
    ),
    "unknown key": ({"seedss": [0]}, ["mini.yaml: seedss", "unknown key", "allowed: study, title", "did you mean seeds?"]),
    "unknown nested key": ({"section_3.problem": 3}, ["section_3.problem", "did you mean problems?"]),
    "unknown key in a grid": ({"runs.0.method_": "sft"}, ["runs.0.method_", "did you mean method?"]),
    "unknown setting": ({"training.sdpo.alfa": 0.5}, ["training.sdpo.alfa", "unknown key", "did you mean alpha?"]),
    "unknown shared setting": ({"training.rl.stepz": 4}, ["training.rl.stepz", "did you mean steps?"]),
    "unknown section of training": ({"training.dpo": {}}, ["training.dpo", "allowed: sft, rl, grpo, sdpo"]),
    "setting of a variant": ({"variants.equal-lr.grpo.lr": 1.0}, ["variants.equal-lr.grpo.lr", "unknown key"]),
    "missing setting": ({"training.sdpo.alpha": "DELETE"}, ["training.sdpo.alpha", "missing"]),
    "missing key": ({"title": "DELETE"}, ["mini.yaml: title", "missing"]),
    "wrong type": ({"seeds": ["one"]}, ["seeds.0", "valid integer", "'one'"]),
    "wrong type of a setting": ({"training.rl.steps": 4.5}, ["training.rl.steps", "valid integer"]),
    "number as text": ({"training.grpo.learning_rate": "2e-5"}, ["training.grpo.learning_rate", "valid number, not '2e-5'"]),
    "out of range": ({"training.sdpo.alpha": 2.0}, ["training.sdpo.alpha", "less than or equal to 1"]),
    "temperature 0": ({"benchmarks.temperature": 0.0}, ["benchmarks.temperature", "must be above 0", "top_k: 1"]),
    "benchmarks of an unknown data set": ({"benchmarks.also": {"narow": ["paired"]}}, ["benchmarks.also", "did you mean narrow?"]),
    "unknown benchmark of a data set": ({"benchmarks.also": {"narrow": ["aimee24"]}}, ["benchmarks.also.narrow", "aime24"]),
    "benchmark of all and of a data set": ({"benchmarks.also": {"narrow": ["paired"]}}, ["benchmarks.also.narrow", "is listed twice"]),
    "empty list": ({"seeds": []}, ["seeds", "at least 1"]),
    "empty models": ({"runs.0.models": []}, ["runs.0.models", "at least 1"]),
    "seed twice": ({"seeds": [1, 1]}, ["seeds", "is listed twice"]),
    "unknown method": ({"runs.0.method": "sdpoo"}, ["runs.0.method", "allowed: sft, grpo, sdpo", "did you mean sdpo?"]),
    "unknown model": ({"runs.0.models": ["r1-minni"]}, ["runs.0.models", "models.yaml", "did you mean r1-mini?"]),
    "unknown data set": ({"runs.0.dataset": "chains"}, ["runs.0.dataset", "allowed: chain, narrow"]),
    "unknown variant": ({"runs.1.variants": ["equal"]}, ["runs.1.variants", "allowed: default, equal-lr, coverage"]),
    "unknown benchmark": ({"benchmarks.names": ["in-domian"]}, ["benchmarks.names", "did you mean in-domain?"]),
    "unknown source": ({"datasets.chain.source": "organ"}, ["datasets.chain", "'organ'", "organism, hub"]),
    "unknown figure": ({"figures.figure2": []}, ["figures.figure2", "allowed: figure1"]),
    "unknown experiment": ({"figures.figure3": ["on-polcy"]}, ["figures.figure3", "did you mean on-policy?"]),
    "figure without experiments": (
        {"figures.figure3": []},
        ["mini.yaml: figures.figure3: must name at least one experiment", "allowed: off-policy, on-policy"],
    ),
    "table without experiments": ({"tables.table2": []}, ["tables.table2: must name at least one experiment"]),
    "figure of one value": (
        {"figures.figure8": ["on-policy"]},
        ["figures.figure8: [on-policy] needs two values of `coverage` in one model; found: full"],
    ),
    "figure of no variant": ({"figures.figure20": ["teacher"]}, ["figures.figure20", "two values of `variant`"]),
    "figure of other methods": (
        {"figures.figure3": ["off-policy"]},
        ["figures.figure3: [off-policy] has no run of a model with the role deepseek"],
    ),
    "figure of a role without runs": ({"figures.figure15": ["teacher"]}, ["figures.figure15", "the role qwen3-nothink"]),
    "experiment that a figure cannot show": (
        {"figures.figure18": ["on-policy", "coverage"]},
        ["figures.figure18: figure18 can show no run of 'coverage'"],
    ),
    "experiment of a figure of section 3": (
        {"figures.figure9": ["on-policy"]},
        ["figures.figure9: shows section 3 and no experiment: must be []"],
    ),
    "figure of a section 3 that is not there": (
        {"section_3": None, "off_policy": None, "runs": [GRPO], "figures": {"figure9": []}, "tables": {}},
        ["figures.figure9: needs `section_3`"],
    ),
    "grpo with a context": ({"runs.0": GRPO | {"contexts": ["solution"]}}, ["runs.0.contexts", "grpo has no context"]),
    "sdpg with a teacher that moves": (
        {"runs.0": SDPO | {"method": "sdpg", "teachers": ["snapshot-10"]}},
        ["runs.0.teachers", "snapshot-10", "allowed: fixed"],
    ),
    "snapshot of no steps": ({"runs.0": SDPO | {"teachers": ["snapshot-0"]}}, ["runs.0.teachers", "snapshot-STEPS"]),
    "grpo with a teacher": ({"runs.0": GRPO | {"teachers": ["fixed"]}}, ["runs.0.teachers", "grpo has no teacher"]),
    "unknown benchmark at every checkpoint": (
        {"benchmarks.every_checkpoint": {"longest": []}},
        ["benchmarks.every_checkpoint: 'longest'", "did you mean longer?"],
    ),
    "unknown experiment of every checkpoint": (
        {"benchmarks.every_checkpoint": {"shorter": ["covrage"]}},
        ["benchmarks.every_checkpoint.shorter", "did you mean coverage?"],
    ),
    "figure of a benchmark at few checkpoints": (
        {"benchmarks.every_checkpoint": {"longer": []}},
        ["benchmarks.every_checkpoint.longer: figure3 draws longer by step", "allowed: on-policy"],
    ),
    "sdpo without a teacher": ({"runs.0": SDPO | {"teachers": []}}, ["runs.0.teachers", "needs a teacher", "fixed, ema-RATE"]),
    "sdpo without a context": ({"runs.0": SDPO | {"contexts": []}}, ["runs.0.contexts", "allowed: answer-only, solution"]),
    "sdpo unguided": ({"runs.0": SDPO | {"contexts": ["unguided"]}}, ["runs.0.contexts", "allowed: answer-only, solution"]),
    "teacher that is none": ({"runs.0": SDPO | {"teachers": ["ema-1.5"]}}, ["runs.0.teachers", "'ema-1.5'", "ema-RATE"]),
    "sft with a teacher": ({"runs.0": SFT | {"teachers": ["fixed"]}}, ["runs.0.teachers", "sft has no teacher"]),
    "sft without data": ({"runs.0": SFT | {"contexts": ["answer-only"]}}, ["runs.0.contexts", "off_policy.contexts"]),
    "sft of a model without data": ({"runs.0": SFT | {"models": ["qwen3-mini-nothink"]}}, ["runs.0.models", "section_3.models"]),
    "sft on a subset": ({"runs.0": SFT | {"coverages": [8]}}, ["runs.0.coverages", "allowed: full"]),
    "coverage too large": ({"datasets.narrow.coverages": [300, "full"]}, ["datasets.narrow.coverages", "300", "at most 100"]),
    "coverage not declared": ({"runs.0": GRPO | {"coverages": [7]}}, ["runs.0.coverages", "'7'", "1, 8, 64, 512, full"]),
    "run declared twice": ({"runs.0": GRPO | {"experiment": "on-policy"}}, ["runs", "again", "on-policy"]),
    "same model twice": ({"runs.0": GRPO | {"models": ["r1-mini", "r1-mini"]}}, ["runs.0.models", "is listed twice"]),
    "off_policy alone": ({"section_3": None}, ["off_policy", "section_3"]),
    "pool too large": ({"section_3.pool": 9999}, ["section_3.pool", "at most 4096"]),
    "impossible solve rate": ({"section_3.solve_rate": [5, 2]}, ["section_3", "solve_rate"]),
    "updates do not divide": ({"training.rl.updates_per_step": 5}, ["training.rl.updates_per_step", "does not divide"]),
    "variant of nothing": ({"runs.0": SFT | {"variants": ["coverage"]}}, ["variants.coverage", "changes nothing for sft"]),
    "several GPUs without a configuration": (
        {"resources": {"rl": {"gpus": 4}}},
        ["resources.rl.accelerate", "4 GPUs", "allowed: ddp, fsdp, zero3"],
    ),
    "unknown accelerate configuration": (
        {"resources": {"sft": {"gpus": 4, "accelerate": "fdsp"}}},
        ["resources.sft.accelerate", "'fdsp'", "allowed: ddp, fsdp, zero3", "did you mean fsdp?"],
    ),
    "accelerate where nothing is trained": (
        {"resources": {"evaluate": {"gpus": 2, "accelerate": "fsdp"}}},
        ["resources.evaluate.accelerate", "allowed: sft, rl"],
    ),
    "accelerate for one process": ({"resources": {"rl": {"gpus": 1, "accelerate": "ddp"}}}, ["resources.rl.accelerate", "two GPUs"]),
    "processes without accelerate": ({"resources": {"rl": {"processes": 2}}}, ["resources.rl.processes", "needs `accelerate`"]),
    "other processes than GPUs": (
        {"resources": {"rl": {"gpus": 4, "accelerate": "fsdp", "processes": 2}}},
        ["resources.rl.processes", "allowed: 4"],
    ),
    "sharding without GPUs": (
        {"resources": {"rl": {"accelerate": "fsdp", "processes": 2}}},
        ["resources.rl.accelerate", "needs GPUs", "allowed: ddp"],
    ),
    "moving teacher under ZeRO-3": (
        {"resources": {"rl": {"gpus": 4, "accelerate": "zero3"}}},
        ["resources.rl.accelerate", "ema-", "bfloat16", "allowed: ddp, fsdp"],
    ),
    "prompts that cannot be shared out": (
        {"resources": {"rl": {"gpus": 7, "accelerate": "fsdp"}}},
        ["resources.rl.processes", "7 processes", "prompts per step as whole groups"],
    ),
    "examples that cannot be shared out": (
        {"resources": {"sft": {"gpus": 7, "accelerate": "fsdp"}}},
        ["resources.sft.processes", "7 processes", "rows per update"],
    ),
    "passes of tokens under ZeRO-3": (
        {
            "resources": {"rl": {"gpus": 2, "accelerate": "zero3"}},
            "runs": [{"experiment": "on-policy", "models": ["r1-mini"], "method": "grpo", "dataset": "chain"}],
            "training.rl.micro_tokens": 500,
        },
        ["resources.rl.accelerate", "zero3 cannot have micro_tokens = 500 (grpo", "allowed: ddp, fsdp"],
    ),
    "nodes without GPUs": (
        {"resources": {"rl": {"accelerate": "ddp", "processes": 2, "nodes": 2}}},
        ["resources.rl.nodes", "0 GPUs cannot be shared out evenly to 2 nodes", "allowed: 1"],
    ),
    "GPUs that nodes cannot share": (
        {"resources": {"rl": {"gpus": 4, "accelerate": "fsdp", "nodes": 3}}},
        ["resources.rl.nodes", "4 GPUs cannot be shared out evenly to 3 nodes", "allowed: 1, 2, 4"],
    ),
    "nodes where nothing is trained": (
        {"resources": {"evaluate": {"gpus": 2, "nodes": 2}}},
        ["resources.evaluate.nodes", "allowed: sft, rl"],
    ),
    "default with overrides": ({"variants.default": {"rl": {"steps": 1}}}, ["variants", "default: {}"]),
    "other name than the file": ({"study": "minii"}, ["study", "allowed: mini"]),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_refused_with_file_key_and_allowed_values(folder, changes, expected):
    with pytest.raises(StudyError) as caught:
        spoil(folder, changes)
    message = str(caught.value)
    assert message.startswith(str(folder / "mini.yaml"))
    assert [part for part in expected if part not in message] == [], message


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
    assert study.grading_modules() == sorted(set(study.grading_modules()))


def test_sft_on_matched_sets_has_the_settings_and_checkpoints_of_sft():
    study = load_study(CONFIG / "test.yaml")
    pairs = list(zip(study.runs("equal-tokens"), study.runs("off-policy"), strict=True))
    assert [(one.method, other.method) for one, other in pairs] == 2 * [("sft-matched", "sft")]
    for one, other in pairs:
        assert one.context == other.context and study.steps_of(one) == study.steps_of(other)
        assert study.settings_for(one).model_dump() == study.settings_for(other).model_dump()


def test_config_files_read_the_same_in_yaml_1_1_and_1_2():
    """Snakemake's --configfile and many editors read YAML 1.1."""
    files = sorted(CONFIG.rglob("*.yaml"))
    assert len(files) > 10
    for file in files:
        assert read_yaml(file) == yaml.safe_load(file.read_text()), file


YAML_TEXTS = {
    "a: 1e-4\nb: on\nc: off\nd: yes\ne: 010": {"a": 1e-4, "b": "on", "c": "off", "d": "yes", "e": 10},
    "\ufeffa: 1\r\nb: 2\r\n": {"a": 1, "b": 2},
    "a: &x [1]\nb: *x": {"a": [1], "b": [1]},
    "a: 1\na: 2": "line 2: duplicate key: a",
    "a: {b: 1, b: 2}": "line 1: duplicate key: b",
    "a: [1_2]": "line 1: invalid YAML: '1_2' is not a number",
    "a: [1": "line 1: invalid YAML: ",
    "a: 2001-13-41": "invalid YAML: month must be in 1..12",
    "a: " + "[" * 500: "invalid YAML: nested too deeply",
    "- 1": "must be a mapping of keys to values",
    "": "must be a mapping of keys to values",
}


@pytest.mark.parametrize("text", YAML_TEXTS, ids=lambda text: repr(text[:20]))
def test_yaml_is_read_by_version_1_2_and_refused_by_its_line(tmp_path, text):
    (tmp_path / "x.yaml").write_bytes(text.encode())
    expected = YAML_TEXTS[text]
    if isinstance(expected, dict):
        assert read_yaml(tmp_path / "x.yaml") == expected
    else:
        with pytest.raises(StudyError, match=r"x\.yaml: ") as caught:
            read_yaml(tmp_path / "x.yaml")
        assert str(caught.value).startswith(f"{tmp_path / 'x.yaml'}: {expected}")


def test_a_file_that_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"title: \xff")
    with pytest.raises(StudyError, match=r"x.yaml: cannot be read \(not UTF-8"):
        read_yaml(tmp_path / "x.yaml")


def test_a_switch_without_quotes_is_text(folder):
    path = folder / "mini.yaml"
    path.write_text(path.read_text().replace('teacher_thinking: "on"', "teacher_thinking: on"))
    study = load_study(path)
    assert study.resolve("sdpo", "hybrid").teacher_thinking == "on"
    whole = yaml.safe_load(path.read_text())
    assert whole["variants"]["hybrid"]["sdpo"]["teacher_thinking"] is True
    assert study_from_config(whole, folder).name == "mini", "as Snakemake reads the file"


def test_model_of_an_unknown_base_is_refused(folder):
    with pytest.raises(
        StudyError, match=r"models.yaml: models.r1-mini.base: 'r1-mimi'.*did you mean r1-mini"
    ):
        spoil(folder, {"models.r1-mini.base": "r1-mimi"}, "models.yaml")


def test_key_that_stands_twice_is_refused(folder):
    path = folder / "mini.yaml"
    path.write_text(path.read_text() + "\nseeds: [1]\n")
    with pytest.raises(StudyError, match=r"mini.yaml: line \d+: duplicate key: seeds"):
        load_study(path)


def test_config_of_snakemake():
    assert study_from_config({}, CONFIG).name == "mini"
    assert study_from_config({"study": "test"}, CONFIG).name == "test"
    assert study_from_config({"study": str(CONFIG / "test.yaml")}, CONFIG).name == "test"
    whole = yaml.safe_load((CONFIG / "test.yaml").read_text())
    assert study_from_config(whole, CONFIG).name == "test"
    with pytest.raises(StudyError, match="no such study file; allowed: .*mini.*did you mean mini"):
        study_from_config({"study": "minni"}, CONFIG)
    with pytest.raises(
        StudyError, match="--config title: only `study`, `replicates`, `seeds`, `experiments` and `models`"
    ):
        study_from_config({"study": "mini", "title": "x"}, CONFIG)


def test_seeds_of_the_command_line_replace_the_files():
    for given in ([0, 1, 2], "0,1,2", "[0, 1, 2]", "0-2", "0,1-2"):
        assert study_from_config({"seeds": given}, CONFIG).file.seeds == [0, 1, 2]
        assert study_from_config({"replicates": given}, CONFIG).file.replicates == [0, 1, 2]
    assert study_from_config({"seeds": 4}, CONFIG).file.seeds == [4]
    assert study_from_config({"seeds": ""}, CONFIG).file.seeds == [0]
    for wrong, message in (
        ("1,x", "must be a list of numbers"),
        ("1_2,3", "must be a list of numbers"),
        (99999999999999999999, "seeds: 99999999999999999999 is too large; allowed: 0 to 999"),
        ([1, 1], "1 is listed twice"),
        (-1, "is negative"),
    ):
        with pytest.raises(StudyError, match=message):
            study_from_config({"seeds": wrong}, CONFIG)


def test_experiments_of_the_command_line_leave_the_others_out():
    whole = study_from_config({}, CONFIG)
    some = study_from_config({"experiments": "on-policy, narrow"}, CONFIG)
    assert set(some.runs()) == set(whole.runs("on-policy", "narrow"))
    assert set(some.base_runs()) == set(whole.base_runs())
    assert "figure7" not in some.file.figures and "figure9" in some.file.figures
    assert some.file.figures["figure1"] == ["narrow", "on-policy"] and "table2" not in some.file.tables
    assert some.file.title.endswith("ablation, control, coverage)") and "narrow" not in some.file.title
    for name in (*some.file.figures, *some.file.tables):
        runs_shown(some, name)
    assert study_from_config({"experiments": ""}, CONFIG).file == whole.file
    with pytest.raises(
        StudyError, match="experiments=on-polcy: no such experiment; allowed: off-policy, on-policy"
    ):
        study_from_config({"experiments": "on-polcy"}, CONFIG)


def test_models_of_the_command_line_leave_the_others_out():
    whole = study_from_config({}, CONFIG)
    some = study_from_config({"experiments": "off-policy,on-policy", "models": "r1-mini"}, CONFIG)
    expected = whole.runs("off-policy", "on-policy")
    assert set(some.runs()) == {run for run in expected if run.model == "r1-mini"}
    assert some.models() == ("r1-mini",) and some.section_3_models() == ["r1-mini"]
    assert some.bases() == ("r1-mini", "r1-mini-polished")
    shown = {*some.file.figures, *some.file.tables}
    assert {"figure3", "figure9", "figure12", "table1", "table2", "table3", "main-results"} <= shown
    assert not {"figure4", "figure5", "figure7", "figure15", "figure19"} & shown  # models that are left out
    assert some.file.title.endswith("ablation, control, coverage, narrow; r1-mini only)")
    off = study_from_config({"models": "qwen3-mini-nothink"}, CONFIG)
    assert off.file.section_3 is None and off.file.off_policy is None
    assert {"figure5", "figure7", "table3"} <= {*off.file.figures, *off.file.tables}
    every = study_from_config({"models": ",".join(whole.models())}, CONFIG)
    assert every.file == whole.file and set(every.runs()) == set(whole.runs())
    for models, message in (
        ("r2-mini", "models=r2-mini: no such model; allowed: r1-mini, "),
        ("qwen3-mini-nothink", "models=qwen3-mini-nothink: nothing is left to do"),
    ):
        with pytest.raises(StudyError, match=message):
            study_from_config({"models": models, "experiments": "off-policy"}, CONFIG)


def test_experiments_on_request_are_left_out_unless_they_are_named():
    usual = study_from_config({"study": "paper"}, CONFIG)
    asked = study_from_config({"study": "paper", "experiments": "variants,on-policy"}, CONFIG)
    assert usual.file.on_request == ["contexts", "rates", "variants", "adaptive", "positions"]
    assert {run.method for run in usual.runs()} == {"sft", "grpo", "sdpo"}
    assert {run.method for run in asked.runs()} == {
        *("grpo", "sdpo", "blend", "rlsd", "antisd", "rlcsd", "srpo", "sdpg", "projps", "purified", "adopsd")
    }
    assert usual.file.title == "Reproduction of arXiv 2603.24472"  # what waits for a request is not missing
    assert "without off-policy, teacher" in asked.file.title
    assert asked.resolve("srpo", "default").learning_rate == 5e-6
    assert asked.resolve("rlcsd", "default").learning_rate == 1e-6
    assert asked.resolve("purified", "default").learning_rate == 5e-6
    assert asked.resolve("sdpo", "opsdc").top_k is None


def test_impossible_settings_are_refused_where_they_are_used(tmp_path):
    """Two steps are too few for AntiSD's gate, which the usual runs of the paper do not have."""
    shutil.copytree(CONFIG, tmp_path / "config")
    paper = tmp_path / "config/paper.yaml"
    paper.write_text(
        paper.read_text()
        .replace("    steps: 100", "    steps: 2")
        .replace("warmup_steps: 10", "warmup_steps: 2")
    )
    assert load_study(paper).resolve("grpo", "default").steps == 2
    with pytest.raises(StudyError, match=r"training.antisd.gate_warmup_steps: 5 is more than steps = 2 - 1"):
        load_study(paper, experiments=["variants"])


def test_a_number_that_snakemake_would_read_as_another_is_refused():
    check_draw_words(["snakemake", "--config", "study=my_study", "seeds=0,1"])
    with pytest.raises(StudyError, match="--config seeds=1_2: must be a list of numbers"):
        check_draw_words(["snakemake", "--config", "seeds=1_2"])


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


@pytest.mark.parametrize(
    ("target", "config"),
    [
        ("mini", "experiments=off-policy,on-policy models=r1-mini"),
        ("mini-full", "replicates=0,1,2"),
        ("beyond", "study=beyond replicates=0,1,2"),
    ],
)
def test_a_target_of_make_asks_for_a_study_that_there_is(target, config):
    done = subprocess.run(
        ["make", "--dry-run", "--directory", CONFIG.parent, target],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"--config {config}\n" in done.stdout
    assert study_from_config(dict(pair.split("=") for pair in config.split()), CONFIG).runs()
