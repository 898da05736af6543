"""What a figure shows is what its experiments say (selfdistill.study.shown), and the roles of the models."""

import shutil
from pathlib import Path

import pytest
import yaml

from selfdistill.study.load import load_study, study_from_config
from selfdistill.study.shown import command_of, display_names, main_runs, run_keys, runs_shown, status_command
from selfdistill.study.yaml import StudyError

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def edit(tmp_path):
    """Load mini after an edit of the content of one of the config files."""
    folder = shutil.copytree(CONFIG, tmp_path / "config")

    def loaded(change, file="mini.yaml"):
        content = yaml.safe_load((folder / file).read_text())
        change(content)
        (folder / file).write_text(yaml.safe_dump(content, sort_keys=False))
        return load_study(folder / "mini.yaml")

    return loaded


def shows(study, name):
    """All that a rule hands to a figure: runs with their seeds (its training inputs), params."""
    return runs_shown(study, name), run_keys(runs_shown(study, name)), display_names(study, name)


def test_the_experiments_decide_which_runs_are_drawn(edit):
    before = load_study(CONFIG / "mini.yaml")
    after = edit(
        lambda content: content["figures"].update(figure3=["equal-lr"], figure15=["hybrid", "on-policy"])
    )
    assert {run.variant for run in runs_shown(before, "figure3")} == {"default"}
    assert [(run.model, run.variant) for run in runs_shown(after, "figure3")] == [("r1-mini", "equal-lr")]
    assert len(runs_shown(after, "figure15")) > len(runs_shown(before, "figure15"))
    assert shows(before, "figure4") == shows(after, "figure4")


@pytest.mark.parametrize("name", ["figure3", "figure4", "figure6", "figure8", "figure15", "figure20"])
def test_a_run_of_another_model_changes_nothing_of_a_figure(edit, name):
    def more_of_olmo(content):
        entry = {
            "experiment": "on-policy",
            "models": ["olmo3-mini"],
            "method": "grpo",
            "variants": ["equal-lr"],
        }
        content["runs"].append(entry | {"dataset": "chain"})
        content["runs"].append(entry | {"experiment": "equal-lr", "dataset": "chain"})

    before, after = load_study(CONFIG / "mini.yaml"), edit(more_of_olmo)
    assert shows(before, name) == shows(after, name)
    assert "olmo3-mini" not in repr(shows(before, name))
    assert shows(before, "figure18") != shows(after, "figure18")


def test_the_name_of_a_variant_decides_nothing(edit):
    def rename(content):
        for name, other in (("topk-50", "k-50"), ("lr-quarter", "slow"), ("hybrid", "thinking-teacher")):
            content["variants"][other] = content["variants"].pop(name)
            for entry in content["runs"]:
                entry["variants"] = [
                    other if one == name else one for one in entry.get("variants", ["default"])
                ]

    study = edit(rename)
    assert {run.variant for run in runs_shown(study, "figure20")} == {"default", "k-50", "slow"}
    assert {run.variant for run in runs_shown(study, "figure15")} == {"default", "thinking-teacher"}


def test_more_seeds_are_more_inputs_and_the_same_lines():
    one, three = (load_study(CONFIG / "mini.yaml", seeds=seeds) for seeds in ([0], [0, 1, 2]))
    assert len(runs_shown(three, "figure3")) == 3 * len(runs_shown(one, "figure3"))
    assert run_keys(runs_shown(three, "figure3")) == run_keys(runs_shown(one, "figure3"))


def test_main_results_show_every_run_or_those_of_their_experiments(edit):
    study = load_study(CONFIG / "mini.yaml")
    assert runs_shown(study, "main-results") == study.base_runs() + study.runs()
    fewer = edit(lambda content: content["tables"].update({"main-results": ["narrow"]}))
    assert runs_shown(fewer, "main-results") == fewer.runs("narrow")


def test_the_report_sums_up_the_plain_runs_of_every_model():
    study = load_study(CONFIG / "mini.yaml")
    found = main_runs(study)
    assert set(found) == {run for run in study.runs("on-policy") if run.variant == "default"}


def test_two_models_of_a_study_cannot_play_one_role(edit):
    with pytest.raises(StudyError, match=r"models.yaml: models.olmo3-mini.role: r1-mini .* 'deepseek' too"):
        edit(lambda content: content["models"]["olmo3-mini"].update(role="deepseek"), "models.yaml")
    with pytest.raises(StudyError, match=r"models.r1-mini.role.*allowed: .*deepseek"):
        edit(lambda content: content["models"]["r1-mini"].update(role="deepseekk"), "models.yaml")


def test_a_role_is_declared_and_not_guessed(edit):
    study = edit(lambda content: content["models"]["smollm2-135m"].update(role="qwen3-think"), "models.yaml")
    assert study.roles()["olmo3"] == "olmo3-mini", "a model of another study has no say"
    for name in ("mini", "paper", "single_gpu", "released", "test", "smollm"):
        declared = load_study(CONFIG / f"{name}.yaml")
        assert set(declared.roles().values()) <= set(declared.models())


@pytest.mark.parametrize(
    ("choice", "command"),
    [
        ({}, "replicates=0 seeds=0"),
        ({"replicates": [0, 2], "seeds": [1]}, "replicates=0,2 seeds=1"),
        ({"experiments": ["off-policy"]}, "replicates=0 seeds=0 experiments=off-policy"),
        ({"models": ["olmo3-mini"]}, "models=olmo3-mini"),
    ],
)
def test_the_command_of_the_report_does_what_was_done(choice, command):
    """Read back, it declares the same jobs."""
    study = load_study(CONFIG / "mini.yaml", **choice)
    found = command_of(study)
    assert found.startswith("snakemake --config study=mini ") and command in found
    given = dict(word.split("=") for word in found.split()[2:])
    assert status_command(study).split() == [
        "make",
        "status",
        *(f"{key.upper()}={value}" for key, value in given.items()),
    ]
    again = study_from_config(given, CONFIG)
    assert again.runs() == study.runs() and again.base_runs() == study.base_runs()
    assert (again.section_3_models(), again.file.figures) == (study.section_3_models(), study.file.figures)
