"""A training on several nodes: what Slurm is asked for, the launcher of each node, and two launchers that train together.

`srun` and `scontrol` are scripts of this test; the launchers and their processes are real, both on this machine.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pandas
import pytest
import tiny
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from test_distributed import WORKER, job_of

from selfdistill.commands import doctor
from selfdistill.commands.memory import training_of
from selfdistill.jobs.preflight import MachineError, check_machine
from selfdistill.study.load import load_study
from selfdistill.training.distributed import launch
from selfdistill.training.distributed.nodes import Nodes, Place, command, on_nodes, this_node

CONFIG = Path(__file__).parents[2] / "config"
SCONTROL = '#!/bin/sh\n[ "$*" = "show hostnames node[07-08]" ] || exit 2\nprintf "%s\\n" $HOSTS\n'
# starts the command after the options once per node, as srun does; if one fails, ends the other and fails too
SRUN = """#!/bin/bash
echo "$@" > "$ASKED"
while [ "${1#--}" != "$1" ]; do shift; done
SLURM_NODEID=1 "$@" & second=$!
SLURM_NODEID=0 "$@" & first=$!
for _ in 1 2; do wait -n || { code=$?; kill -9 $first $second; exit $code; }; done
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """The environment of a job on two nodes, both of which are this machine; returns the file with srun's arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("HOSTS", "localhost localhost")
    monkeypatch.setenv("SLURM_JOB_ID", str(os.getpid()))
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[07-08]")
    return tmp_path / "asked"


def test_slurm_starts_one_launcher_per_node_with_its_share():
    asked = on_nodes(Nodes(2, 4, 32), 8, Path("config/accelerate/fsdp.yaml"), ["-m", "worker", "job.json"])
    step = (
        "srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=32 --gres=gpu:4 --kill-on-bad-exit=1"
    )
    launcher = "-m selfdistill.training.distributed.nodes 8 config/accelerate/fsdp.yaml -m worker job.json"
    assert asked == [*step.split(), sys.executable, *launcher.split()]


def test_a_node_learns_its_place_from_slurm(cluster, monkeypatch):
    monkeypatch.setenv("HOSTS", "node07 node08")
    environment = {"SLURM_JOB_NODELIST": "node[07-08]", "SLURM_JOB_ID": "123456789"}
    places = [this_node(environment | {"SLURM_NODEID": rank}) for rank in "01"]
    port = 15000 + 123456789 % 15000
    assert places == [Place(2, rank, "node07", port) for rank in (0, 1)]
    with pytest.raises(KeyError):
        this_node({})


@pytest.mark.parametrize("rank", [0, 1])
def test_the_launcher_of_each_node(rank):
    place, file = Place(2, rank, "node07", 21789), CONFIG / "accelerate" / "fsdp.yaml"
    options = f"--num_processes=8 --num_machines=2 --main_process_port=21789 --machine_rank={rank} --main_process_ip=node07"
    found = command(8, file, ["-m", "worker", "job.json"], place)
    launcher = [f"--config_file={file}", *options.split(), "-m", "worker", "job.json"]
    assert found == [sys.executable, "-m", "accelerate.commands.launch", *launcher]
    parsed, *_ = _validate_launch_command(launch_command_parser().parse_args(found[3:]))
    assert (parsed.num_machines, parsed.machine_rank, parsed.num_processes) == (2, rank, 8)
    assert (parsed.main_process_ip, parsed.main_process_port) == ("node07", 21789)
    assert parsed.use_fsdp and parsed.rdzv_backend == "static"


@pytest.fixture
def plain(tmp_path):
    """config/accelerate/ddp.yaml without bfloat16, for CPUs."""
    content = yaml.safe_load((CONFIG / "accelerate/ddp.yaml").read_text()) | {"mixed_precision": "no"}
    (tmp_path / "ddp.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "ddp.yaml"


def test_two_nodes_take_the_course_of_two_processes_on_one(tmp_path, cluster, plain, monkeypatch):
    monkeypatch.setenv("TEST_OPTIONS", "{}")
    one, *others = (job_of(tmp_path, "sft", name) for name in ("one", "torchrun", "accelerate"))
    launch.launch(one, 2, None, WORKER)
    before = signal.getsignal(signal.SIGTERM)
    for job, config in zip(others, (None, plain), strict=True):
        launch.launch(job, 2, config, WORKER, nodes=Nodes(2, 1, 1))
        assert cluster.read_text().startswith("--nodes=2 --ntasks=2 --ntasks-per-node=1 --cpus-per-task=1")
    assert signal.getsignal(signal.SIGTERM) is before
    expected, *found = (
        pandas.read_parquet(job.output / "training.parquet").drop(columns="seconds") for job in (one, *others)
    )
    assert expected["loss"].abs().min() > 1e-5
    (last,) = (one.output / "checkpoints").glob("step-*")
    for job, table in zip(others, found, strict=True):
        pandas.testing.assert_frame_equal(expected, table, check_exact=True)
        assert tiny.same_weights(last, job.output / "checkpoints" / last.name)


def test_a_node_that_fails_ends_the_job_with_its_error(tmp_path, cluster):
    worker = tmp_path / "failing.py"
    worker.write_text(
        "import os\nfrom selfdistill.training.distributed.launch import read_job, telling\nimport sys\n"
        "with telling(read_job(sys.argv[1]).resume):\n    assert os.environ['RANK'] == '0', 'a broken card'\n"
    )
    job = job_of(tmp_path, "grpo", "one")
    with pytest.raises(RuntimeError, match="training on 2 processes failed .* AssertionError: a broken card"):
        launch.launch(job, 2, None, (str(worker),), nodes=Nodes(2, 1, 1))


def spread(nodes: int):
    """The paper's study with its on-policy trainings on eight GPUs of some nodes."""
    paper = load_study(CONFIG / "paper.yaml")
    asked = paper.file.resources["rl"].model_copy(update={"gpus": 8, "nodes": nodes})
    file = paper.file.model_copy(update={"resources": paper.file.resources | {"rl": asked}})
    return replace(paper, file=file)


def test_memory_counts_the_cards_of_all_nodes_and_doctor_those_of_one():
    study = spread(2)
    run = study.runs("on-policy", methods=("grpo",))[1]
    assert training_of(study, run).cards == 8
    assert doctor.gpus_wanted(study) == 4 and doctor.gpus_wanted(spread(1)) == 8


def test_several_nodes_without_slurm_are_refused(monkeypatch, tmp_path):
    study = spread(2)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match=r"paper.yaml: resources.rl.nodes: 2 nodes need Slurm; srun not"):
        check_machine(study, own_environments=True)
    (finding,) = doctor.check_slurm(study, lambda *command: None)
    assert finding.level == "problem" and "resources.rl asks for several nodes" in finding.text
    check_machine(spread(1), own_environments=True)
