"""One process of a training job in the tests of several processes: the library's own worker with a reward that a
random model can earn, and what a test asks for beside it, by the variable TEST_OPTIONS (JSON).

also: files of further jobs, trained after the first; fsdp: shard the weights (accelerate leaves FSDP to GPUs; here
it is told that these are some); kill_at, terminate_at: number of the reward call of the last job at which process 1
gets SIGKILL, or SIGTERM.
"""

import json
import os
import signal
import sys

import tiny
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from selfdistill.training import checkpoints as resume
from selfdistill.training.distributed import launch, sharding

OPTIONS = json.loads(os.environ.get("TEST_OPTIONS", "{}"))


def shard_on_cpu() -> None:
    """Have every trainer use FSDP2 with the settings of config/accelerate/fsdp.yaml, but for bfloat16."""
    original = AcceleratorState.__init__

    def init(self, *args, **kwargs) -> None:
        original(self, *args, **kwargs)
        if self.distributed_type != DistributedType.FSDP:
            self.distributed_type = DistributedType.FSDP
            self.fsdp_plugin = FullyShardedDataParallelPlugin(
                fsdp_version=2, auto_wrap_policy="transformer_based_wrap", reshard_after_forward=True,
                state_dict_type="FULL_STATE_DICT", cpu_ram_efficient_loading=False,
            )  # fmt: skip

    AcceleratorState.__init__ = init


class Sharded(TrainerCallback):
    """Fails a training whose policy or teacher does not lie in shards, layer by layer."""

    def __init__(self, trainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args, state, control, **_) -> None:
        """After the trainer has wrapped its models."""
        for name in {"model", "teacher_model"} & vars(self.trainer).keys():
            model = getattr(self.trainer, name)
            assert all(isinstance(layer, FSDPModule) for layer in model.model.layers), name
            assert all(isinstance(parameter, DTensor) for parameter in model.parameters()), name


def check_sharding() -> None:
    """Check the trainer of every job when its training begins."""
    original = resume.CheckpointStore.latest

    def latest(self):
        for trainer in trainers:
            trainer.add_callback(Sharded(trainer))
        trainers.clear()
        return original(self)

    trainers: list = []
    create = sharding.ShardedMixin.create_accelerator_and_postprocess

    def noted(self) -> None:
        create(self)
        trainers.append(self)

    resume.CheckpointStore.latest = latest
    sharding.ShardedMixin.create_accelerator_and_postprocess = noted


def reward(responses, answers):
    """The coin reward; may end a process before."""
    call, reward.calls = reward.calls, reward.calls + 1
    if os.environ["RANK"] == "1" and reward.last:
        if call == OPTIONS.get("kill_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        if call == OPTIONS.get("terminate_at"):
            os.kill(os.getpid(), signal.SIGTERM)
    return tiny.coin_reward(responses, answers)


if __name__ == "__main__":
    launch.become_worker()
    if OPTIONS.get("fsdp"):
        shard_on_cpu()
        check_sharding()
    files = [sys.argv[1], *OPTIONS.get("also", ())]
    for file in files:
        job = launch.read_job(file)
        reward.calls, reward.last = 0, file == files[-1]
        launch.train(job, **({} if job.run.method == "sft" else {"reward": reward}))
    launch.end_together()
