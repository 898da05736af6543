"""What a command line chooses of a study: draws, experiments, models, and the targets of make."""

import shutil
import subprocess
from importlib import import_module

import pytest
import yaml
from spoiled import CONFIG

from selfdistill.study.load import check_draw_words, load_study, study_from_config
from selfdistill.study.shown import runs_shown
from selfdistill.study.yaml import StudyError
from selfdistill.vocabulary.runs import base_run


def test_config_of_snakemake():
    assert study_from_config({}, CONFIG).name == "mini"
    assert study_from_config({"study": "test"}, CONFIG).name == "test"
    assert study_from_config({"study": str(CONFIG / "test.yaml")}, CONFIG).name == "test"
    whole = yaml.safe_load((CONFIG / "test.yaml").read_text())
    assert study_from_config(whole, CONFIG).name == "test"
    with pytest.raises(StudyError, match="no such study file; allowed: .*mini.*did you mean mini"):
        study_from_config({"study": "minni"}, CONFIG)
    with pytest.raises(
        StudyError,
        match="--config title: not one of study, replicates, seeds, experiments, models, grader, retrain; change",
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


def test_samples_of_a_base_serve_any_choice():
    """Otherwise a small choice after the whole study would evaluate its bases again, and the whole study after it once more."""
    for chosen in ({"experiments": "on-policy"}, {"models": "r1-mini"}, {"experiments": "narrow"}, {}):
        some = study_from_config(chosen, CONFIG)
        base = base_run("r1-mini", 0, 0)
        assert some.benchmarks_of(base) == ["facts", "in-domain", "longer", "paired", "shorter"], chosen
    assert "facts" not in some.benchmarks_of(base_run("olmo3-mini", 0, 0))


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


def test_an_unknown_grader_of_the_command_line_is_refused_with_those_that_can_grade_again():
    with pytest.raises(
        StudyError, match=r"--config grader=mcq: must be one of strict, authors-reward, authors-eval$"
    ):
        study_from_config({"grader": "mcq"}, CONFIG)
    assert study_from_config({"grader": "authors-eval"}, CONFIG).name == "mini"


@pytest.mark.parametrize("name", ["plan", "status", "measure", "doctor", "publish"])
def test_a_command_on_an_unknown_study_ends_with_what_is_allowed(name, monkeypatch):
    monkeypatch.chdir(CONFIG.parent)
    command = import_module(f"selfdistill.commands.{name}")
    with pytest.raises(
        SystemExit, match="config/minni.yaml: no such study file; allowed: .*did you mean mini"
    ):
        command.main(["--study", "minni"])
