"""The training job: trains one run in this process, or on several if its resources say so."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfdistill.generation.imports import LOADING
from selfdistill.records.files import read_table
from selfdistill.records.schemas import training_schema
from selfdistill.records.task import Facts, Task, job
from selfdistill.study.methods import METHODS
from selfdistill.training.distributed.launch import launch, train
from selfdistill.training.distributed.nodes import Nodes
from selfdistill.training.job import TrainingJob


def trainer_modules(params: Mapping[str, Any]) -> Sequence[str]:
    """Return the modules that the trainer of a job's method imports."""
    module, _, _ = METHODS[params["job"]["run"]["method"]].trainer.partition(":")
    return (*LOADING["transformers"], module)


@job(late=trainer_modules)
def train_run(task: Task) -> Facts:
    """Train a run and write its checkpoints and records."""
    resources = task.resources
    training = TrainingJob(
        **task.params["job"],
        base=Path(task.input.base),
        data=Path(task.input.data),
        output=Path(task.output.training).parent,
        resume=task.resume,
        resume_every=resources.get("resume_every", 0),
    )
    processes = resources.get("processes", 1)
    if processes > 1:
        count = resources.get("nodes", 1)
        nodes = Nodes(count, resources.get("gpus", 0) // count, resources["threads"])
        threads = max(count * nodes.threads // processes, 1)
        launch(training, processes, resources["accelerate"], threads=threads, nodes=nodes)
        importlib.import_module("torch")  # the manifest reads the device from it; `launch` does not import it
    else:
        train(training)
    record = read_table(task.output.training, training_schema(), ["tokens"])
    return {"tokens": int(record["tokens"].iloc[-1]), "steps": len(record), "processes": processes}
