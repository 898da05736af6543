"""The check at a job's start that it sees the GPUs that it asked for, and runs once."""

import logging
from types import SimpleNamespace

import pytest
import torch

from selfdistill.jobs import allocation
from selfdistill.jobs import run_job as job
from selfdistill.jobs.allocation import WrongAllocation, check_allocation


@pytest.fixture
def without_cuda(monkeypatch):
    """A PyTorch that is built without CUDA, whatever this machine has."""
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None, raising=False)


@pytest.fixture
def with_cuda(monkeypatch):
    """A PyTorch that is built with CUDA and sees two devices."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(
    ("variable", "devices"),
    [("0", 1), ("0,1", 2), ("GPU-1f,GPU-2e, GPU-3d", 3), ("", 0), ("-1", 0), ("NoDevFiles", 0), (None, 0)],
)
def test_devices_of_the_variable_are_counted_where_pytorch_has_no_cuda(without_cuda, variable, devices):
    environment = {} if variable is None else {"CUDA_VISIBLE_DEVICES": variable}
    assert allocation.visible_devices(environment)[0] == devices
    if devices:
        check_allocation("train_grpo", devices, environment)
    with pytest.raises(
        WrongAllocation, match=rf"^train_grpo: asked for {devices + 1} GPUs, sees {devices} \(CUDA_VISI"
    ):
        check_allocation("train_grpo", devices + 1, environment)


def test_pytorch_counts_where_it_has_cuda(with_cuda):
    check_allocation("train_grpo", 2, {})
    with pytest.raises(
        WrongAllocation,
        match=r"asked for 4 GPUs, sees 2 \(PyTorch's count; CUDA_VISIBLE_DEVICES is '0,1,2,3'",
    ):
        check_allocation("train_grpo", 4, {"CUDA_VISIBLE_DEVICES": "0,1,2,3"})
    with pytest.raises(WrongAllocation, match="asked for 1 GPUs, sees 2"):
        check_allocation("evaluate_run", 1, {})


def test_a_job_without_gpus_may_see_any(with_cuda):
    check_allocation("plot_figure", 0, {"CUDA_VISIBLE_DEVICES": "0"})


@pytest.mark.parametrize("gpus", [0, 2])
def test_several_tasks_are_refused(without_cuda, gpus):
    environment = {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_STEP_NUM_TASKS": "1"}
    check_allocation("train_sft", gpus, environment)
    with pytest.raises(WrongAllocation, match="train_sft: Slurm started this job as 2 tasks"):
        check_allocation("train_sft", gpus, environment | {"SLURM_STEP_NUM_TASKS": "2"})


def test_a_job_with_the_wrong_gpus_does_nothing(without_cuda, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    monkeypatch.setattr(job, "redirect_output", lambda log: None)
    monkeypatch.setattr(job, "set_threads", lambda threads: None)
    snakemake = SimpleNamespace(
        rule="train_sdpo",
        threads=1,
        log=[tmp_path / "log"],
        params={"resume": str(tmp_path / "resume"), "job": {}},
        resources={"gpu": 4, "mem_mb": 100},
    )
    snakemake.params = type("Params", (dict,), {"resume": str(tmp_path / "resume")})(snakemake.params)
    done = []
    with caplog.at_level(logging.INFO), pytest.raises(WrongAllocation, match="asked for 4 GPUs, sees 1"):
        job.run_job(snakemake, lambda *_: done.append(True))
    assert not done
    assert not list(tmp_path.rglob("manifest*"))
