"""Mistakes in study files are refused, with file, key and what is allowed; YAML is read by version 1.2."""

import pytest
import yaml
from spoiled import CONFIG, spoil

from selfdistill.study.load import load_study, study_from_config
from selfdistill.study.yaml import StudyError, read_yaml

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
    "updates of a variant do not divide": (
        {"variants.coverage": {"rl": {"updates_per_step": 5}}},
        ["variants.coverage.rl.updates_per_step: 5 does not divide", "variant coverage"],
    ),
    "updates do not divide, on several GPUs": (
        {"training.rl.updates_per_step": 5, "resources": {"rl": {"gpus": 4, "accelerate": "fsdp"}}},
        ["training.rl.updates_per_step", "does not divide"],
    ),
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
