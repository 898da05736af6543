"""The commands that start the processes of a training job, on one node or on several of a Slurm allocation.

On several nodes, `srun` runs `python -m selfdistill.training.distributed.nodes PROCESSES CONFIG WORKER...`, this module, once on
each. It learns its place in the allocation from Slurm and becomes the launcher of its node. It imports neither torch nor TRL.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = ("-m", "selfdistill.training.distributed.nodes")
PORTS = range(15_000, 30_000)
"""Ports of first nodes: above those of services, below those that Linux gives to outgoing connections."""


@dataclass(frozen=True)
class Nodes:
    """The nodes of a job: how many, and the GPUs and cores of each."""

    count: int = 1
    gpus: int = 0
    threads: int = 1


@dataclass(frozen=True)
class Place:
    """The place of a node in a job: number of its nodes, rank of this one, and where the first one listens."""

    nodes: int = 1
    rank: int = 0
    address: str = ""
    port: int = 0


ONE_NODE, ALONE = Nodes(), Place()


def command(processes: int, config: Path | None, worker: Sequence[str], place: Place = ALONE) -> list[str]:
    """Return the command that starts this node's share of `processes` workers.

    config: accelerate configuration on GPUs, None on CPUs.
    """
    if config is None:
        launcher = [
            "torch.distributed.run",
            f"--nproc-per-node={processes // place.nodes}",
            *_torchrun(place),
        ]
    else:
        launcher = ["accelerate.commands.launch", f"--config_file={config}", f"--num_processes={processes}"]
        launcher += [f"--num_machines={place.nodes}", f"--main_process_port={place.port}"]
        if place.nodes > 1:
            launcher += [f"--machine_rank={place.rank}", f"--main_process_ip={place.address}"]
    return [sys.executable, "-m", *launcher, *worker]


def _torchrun(place: Place) -> list[str]:
    """Return the options of torchrun for a place."""
    if place.nodes == 1:
        return ["--standalone"]
    where = [f"--master-addr={place.address}", f"--master-port={place.port}"]
    return [f"--nnodes={place.nodes}", f"--node-rank={place.rank}", *where]


def on_nodes(nodes: Nodes, processes: int, config: Path | None, worker: Sequence[str]) -> list[str]:
    """Return the command that starts one launcher on each node of this job's allocation.

    If one launcher fails, Slurm ends the others, which would wait for it for hours.
    """
    step = [f"--nodes={nodes.count}", f"--ntasks={nodes.count}", "--ntasks-per-node=1"]
    each = [f"--cpus-per-task={nodes.threads}", f"--gres=gpu:{nodes.gpus}"]
    launcher = [sys.executable, *LAUNCHER, str(processes), str(config or ""), *worker]
    return ["srun", *step, *each, "--kill-on-bad-exit=1", *launcher]


def this_node(environment: Mapping[str, str] = os.environ) -> Place:
    """Return the place of this node in the allocation. Raise KeyError outside of a task that `srun` started."""
    nodes = environment["SLURM_JOB_NODELIST"]
    told = subprocess.run(
        ["scontrol", "show", "hostnames", nodes], check=True, capture_output=True, text=True
    )
    hosts = told.stdout.split()
    port = PORTS[int(environment["SLURM_JOB_ID"]) % len(PORTS)]
    return Place(len(hosts), int(environment["SLURM_NODEID"]), hosts[0], port)


def main(arguments: Sequence[str]) -> None:
    """Become the launcher of this node, which ignores SIGTERM: the workers handle it."""
    processes, config, *worker = arguments
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    launcher = command(int(processes), Path(config) if config else None, worker, this_node())
    os.execv(launcher[0], launcher)


if __name__ == "__main__":
    main(sys.argv[1:])
