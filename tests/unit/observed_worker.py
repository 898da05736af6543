"""One process of training jobs on shards, with a stand-in for vLLM, that notes what its micro-steps hold and run. The
notes of a job lie in `observed-RANK.json` beside its file; jobs after the first are named by the variable TEST_OPTIONS.

A job whose name begins with `silent` has no reward, so no row has a loss. In the others the first group of each process
has the coin reward, and the other groups have none.
"""

import json
import os
import sys
from pathlib import Path

import distributed_worker
import engine_stand_in
import pytest
import tiny
import torch
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from selfdistill.training import on_policy
from selfdistill.training.distributed import launch
from selfdistill.training.rollouts import RolloutMixin

GROUP = 4
notes: dict[str, list] = {}
"""Of the present job: unsharded, sharded (bytes of gradients after a micro-step), old, learning, teacher (rows and
width of every pass), error (by how much old log-probabilities differ from those of padded rows), wanted (width of
every row that has an old log-probability in the loss).
"""


class Observer(TrainerCallback):
    """Notes the bytes of gradients after every micro-step but the last of an update."""

    def __init__(self, model) -> None:
        self.model = model

    def on_substep_end(self, args, state, control, **_) -> None:
        """While gradients are accumulated."""
        groups = [
            m._get_fsdp_state()._fsdp_param_group for m in self.model.modules() if isinstance(m, FSDPModule)
        ]
        own = [parameter for group in groups if group for parameter in group.fsdp_params]
        whole = [
            p.unsharded_accumulated_grad for p in own
        ]  # in float32, where passes compute in another type;
        whole += [
            p.unsharded_param.grad for p in own if hasattr(p, "_unsharded_param")
        ]  # else it is this one
        shards = [p.grad for p in self.model.parameters() if isinstance(p.grad, DTensor)]
        notes["unsharded"].append(sum(grad.nbytes for grad in whole if grad is not None))
        notes["sharded"].append(sum(grad.to_local().nbytes for grad in shards))


def observed(build):
    """`build_trainer`, with an observer and a note of every pass."""

    def note(names):
        def hook(module, inputs) -> None:
            if RolloutMixin.noting:
                notes[names[torch.is_grad_enabled()]].append(list(inputs[0].shape))

        return hook

    def build_observed(*args, **options):
        trainer = build(*args, **options)
        trainer.add_callback(Observer(trainer.model))
        trainer.model.get_input_embeddings().register_forward_pre_hook(note(["old", "learning"]))
        if getattr(trainer, "teacher_model", None) is not None:
            trainer.teacher_model.get_input_embeddings().register_forward_pre_hook(
                note(["teacher", "teacher"])
            )
        return trainer

    return build_observed


def compared(old_log_probs):
    """`old_log_probs`, compared with those of padded rows."""

    def compare(self, batch):
        old = old_log_probs(self, batch)
        RolloutMixin.noting = False
        padded = self.current_log_probs(batch)
        RolloutMixin.noting = True
        used = self.has_loss(batch)
        lengths = (batch["prompt_mask"].sum(1) + batch["completion_mask"].sum(1))[used]
        notes["wanted"] += lengths.tolist()
        difference = (old - padded)[used] * batch["completion_mask"][used]
        notes["error"].append(float(difference.abs().sum()))
        return old

    return compare


def reward(job):
    """The reward of a job in this process."""

    def grades(responses, answers):
        signal = 0 if job.resume.parent.name.startswith("silent") else GROUP
        return [
            *tiny.coin_reward(responses[:signal], answers),
            *tiny.graded([0] * (len(responses) - signal)),
        ]

    return grades


if __name__ == "__main__":
    launch.become_worker()
    distributed_worker.shard_on_cpu()
    engine_stand_in.install(pytest.MonkeyPatch())
    RolloutMixin.noting = True
    RolloutMixin.old_log_probs = compared(RolloutMixin.old_log_probs)
    on_policy.build_trainer = observed(on_policy.build_trainer)
    for file in (sys.argv[1], *distributed_worker.OPTIONS["also"]):
        names = ("unsharded", "sharded", "old", "learning", "teacher", "error", "wanted")
        notes |= {name: [] for name in names}
        job = launch.read_job(file)
        launch.train(job, reward=reward(job))
        Path(file).with_name(f"observed-{os.environ['RANK']}.json").write_text(json.dumps(notes))
    launch.end_together()
