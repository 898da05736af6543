"""What training needs where the weights are shared out to several devices (FSDP2, DeepSpeed ZeRO-3): precision,
a frozen teacher, and whole copies of it in checkpoints.

On one process, and where every process holds the whole model (DDP), all of this does nothing of its own.
"""

from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from trl.models.utils import prepare_fsdp


class ShardedMixin:
    """Stands before a transformers Trainer and sets the precision of FSDP as soon as it is known."""

    def create_accelerator_and_postprocess(self) -> None:
        """The trainer's accelerator; raises ValueError for the first version of FSDP."""
        super().create_accelerator_and_postprocess()
        set_precision(self.accelerator)


def set_precision(accelerator: Accelerator) -> None:
    """Compute in the precision of the accelerator, add up gradients in float32, and leave outputs as they are.

    Accelerate's own policy would round every output of the model, the summed loss and log-probabilities that
    `head.through_wrapper` takes through it among them, to bfloat16. Raises ValueError for FSDP 1, which gives
    no access to single weights.
    """
    if accelerator.distributed_type != DistributedType.FSDP:
        return
    plugin = accelerator.state.fsdp_plugin
    if plugin.fsdp_version != 2:
        raise ValueError(
            "this training runs on FSDP2 only: set fsdp_version to 2 in the accelerate configuration"
        )
    if plugin.cpu_ram_efficient_loading:
        raise ValueError(
            "fsdp_cpu_ram_efficient_loading must be false: the teacher would have weights on process 0 only"
        )
    if accelerator.mixed_precision == "bf16":
        plugin.mixed_precision_policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32)


def shard_frozen(accelerator: Accelerator, model: nn.Module) -> nn.Module:
    """A model that is never trained, shared out layer by layer under FSDP2.

    TRL shards its teacher in one piece, which is whole on every device during its pass. All of it is shared
    out again after a pass, for an EMA teacher is updated shard by shard.
    """
    plugin = accelerator.state.fsdp_plugin
    policy = plugin.mixed_precision_policy or MixedPrecisionPolicy()
    options = {"mp_policy": policy, "offload_policy": plugin.cpu_offload, "reshard_after_forward": True}
    for layer in model.base_model.layers:
        fully_shard(layer, **options)
    return prepare_fsdp(model, accelerator)


def check_head_is_whole(head: nn.Module) -> None:
    """Refuse (RuntimeError) the head of a policy that is still in shards: its gradient would miss the rows of
    the other processes.

    It is whole from the policy's own forward pass to the end of the backward pass.
    """
    if isinstance(head.weight, DTensor) and head.weight.requires_grad and torch.is_grad_enabled():
        raise RuntimeError("the output head is in shards; read it after the forward pass of the model")


def check_teacher_can_move(accelerator: Accelerator) -> None:
    """Refuse (ValueError) an EMA teacher under DeepSpeed, which holds a model without optimizer in bfloat16
    only: steps of 5 % of one small update would be rounded away, in training and in checkpoints.
    """
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        raise ValueError(
            "an EMA teacher needs float32 weights, which DeepSpeed does not keep: use fsdp or ddp"
        )


def save_whole(accelerator: Accelerator, model: nn.Module, file: Path) -> None:
    """Write a model's whole state, gathered from all processes, from process 0. All processes must call it."""
    state = accelerator.get_state_dict(model)
    if accelerator.is_main_process:
        torch.save(state, file)


def load_whole(accelerator: Accelerator, model: nn.Module, file: Path) -> None:
    """Put a state that `save_whole` wrote back into `model`, each process its part. All must call it."""
    unwrapped = accelerator.unwrap_model(model)
    if isinstance(unwrapped, FSDPModule):
        state = torch.load(file, map_location="cpu", weights_only=True) if accelerator.is_main_process else {}
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
        set_model_state_dict(unwrapped, state, options=options)
    else:
        unwrapped.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
