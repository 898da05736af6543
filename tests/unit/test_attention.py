"""The attention function of a training: refused early if unknown or without its package, and used by student and teacher."""

import importlib.util
from types import SimpleNamespace

import pytest
import tiny
from spoiled import spoil

from selfdistill.commands import doctor
from selfdistill.jobs.preflight import MachineError, check_machine
from selfdistill.models.loading import load_model
from selfdistill.study.yaml import StudyError
from selfdistill.training.arguments import grpo_arguments, sdpo_arguments
from selfdistill.training.grpo import GroupRelativeTrainer
from selfdistill.training.on_policy import build_trainer
from selfdistill.training.sdpo import SelfDistillationTrainer, teacher_options
from selfdistill.training.sft import build_sft_trainer

KERNEL = "kernels-community/flash-attn2@v1:function"


@pytest.fixture
def bare(monkeypatch):
    """A Python without the packages of other attention functions."""
    find = importlib.util.find_spec
    packages = ("flash_attn", "flash_attn_interface", "kernels")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in packages else find(name))


@pytest.mark.parametrize("name", ["flash", "sdpa ", "paged|sdpa", "someone/kernel", "kernels-community/"])
def test_an_unknown_attention_is_refused_when_the_study_is_loaded(folder, name):
    with pytest.raises(StudyError) as caught:
        spoil(folder, {"training.rl.attn_implementation": name})
    message = str(caught.value)
    assert f"mini.yaml: training.rl.attn_implementation: unknown attention {name!r}" in message
    assert "allowed: sdpa, eager, flash_attention_2, flash_attention_3, kernels-community/NAME" in message


@pytest.mark.parametrize(
    ("name", "package"),
    [("flash_attention_2", "flash_attn"), ("flash_attention_3", "flash_attn_interface"), (KERNEL, "kernels")],
)
def test_a_missing_package_is_refused_before_the_first_job_and_by_doctor(folder, bare, name, package):
    study = spoil(folder, {"training.sft.attn_implementation": name})
    problem = f"training.sft.attn_implementation: {name} needs the package {package}, which is not installed"
    with pytest.raises(MachineError) as caught:
        check_machine(study)
    assert f"mini.yaml: {problem}" in str(caught.value) and "training.rl" not in str(caught.value)
    (finding,) = doctor.check_attention(study)
    assert finding.level == "problem" and finding.text.startswith(problem)
    check_machine(study, own_environments=True)


def test_packages_that_are_there_are_not_refused(folder, monkeypatch):
    find = importlib.util.find_spec
    installed = SimpleNamespace(origin="flash_attn")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: installed if name == "flash_attn" else find(name)
    )
    study = spoil(folder, {"training.rl.attn_implementation": "flash_attention_2"})
    check_machine(study)
    assert not list(doctor.check_attention(study))


def test_a_job_refuses_it_too_and_no_other_attention_is_taken_in_its_place(tmp_path, bare):
    job = tiny.job(tmp_path, "sft", tiny.SFT | {"attn_implementation": "flash_attention_2"})
    with pytest.raises(ImportError, match="flash_attention_2 needs the package flash_attn"):
        build_sft_trainer(job)


def test_the_default_is_the_choice_of_transformers(tmp_path):
    base = tiny.save_base(tmp_path / "base")
    assert load_model(base).config._attn_implementation == "sdpa"
    assert tiny.job(tmp_path, "sft", tiny.SFT).settings.attn_implementation == "sdpa"


@pytest.mark.parametrize("name", ["sdpa", "eager"])
def test_student_and_teacher_use_it(tmp_path, name):
    chosen = {"attn_implementation": name}
    models = [build_sft_trainer(tiny.job(tmp_path / "sft", "sft", tiny.SFT | chosen)).model]
    for method, trainer_class, arguments in (
        ("grpo", GroupRelativeTrainer, lambda job: grpo_arguments(job.settings, "on", job.resume, 0)),
        ("sdpo", SelfDistillationTrainer, lambda job: sdpo_arguments(job.settings, "fixed", "on", job.resume, 0)),
    ):  # fmt: skip
        settings = {"grpo": tiny.GRPO, "sdpo": tiny.SDPO}[method]
        job = tiny.job(tmp_path / method, method, settings | chosen)
        options = teacher_options(job) if method == "sdpo" else {}
        trainer = build_trainer(trainer_class, job, arguments(job), tiny.coin_reward, **options)
        models += [trainer.model, getattr(trainer, "teacher_model", trainer.model)]
    assert [model.config._attn_implementation for model in models] == [name] * 5
    assert models[3] is not models[4]
