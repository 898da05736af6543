"""Support for weights sharded over several devices (FSDP2, DeepSpeed ZeRO-3): precision, a frozen teacher, and its
whole weights in checkpoints.

On one process, and if every process has the whole model (DDP), these functions add nothing.
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
    """Mixin for a transformers Trainer (list it first): sets the precision of FSDP, and when it reduces gradients."""

    def create_accelerator_and_postprocess(self) -> None:
        """Create the accelerator as the trainer does and set it up for FSDP. Raise ValueError for FSDP 1."""
        super().create_accelerator_and_postprocess()
        set_precision(self.accelerator)
        reduce_every_pass(self.accelerator)


def reduce_every_pass(accelerator: Accelerator) -> None:
    """Have FSDP reduce the gradients of every pass, also while they are accumulated.

    By default it keeps them until the last micro-batch of an update: then every device holds the whole model's gradients in
    float32 (30 GB for 8 B parameters) instead of its shard.
    """
    if accelerator.distributed_type == DistributedType.FSDP:
        accelerator.gradient_state.plugin_kwargs["sync_each_batch"] = True  # the Trainer reads it there


def set_precision(accelerator: Accelerator) -> None:
    """Have FSDP compute in the accelerator's precision, sum gradients in float32, and leave outputs unchanged.

    Accelerate's default policy would round every output to bfloat16, also the summed loss and log-probabilities that
    `head.through_wrapper` passes through the wrapper. Raise ValueError for FSDP 1, which gives no access to single weights,
    and for `fsdp_cpu_ram_efficient_loading`.
    """
    if accelerator.distributed_type != DistributedType.FSDP:
        return
    plugin = accelerator.state.fsdp_plugin
    if plugin.fsdp_version != 2:
        raise ValueError("fsdp_version must be 2 in the accelerate configuration: training needs FSDP2")
    if plugin.cpu_ram_efficient_loading:
        raise ValueError(
            "fsdp_cpu_ram_efficient_loading must be false: else only process 0 has the teacher's weights"
        )
    if accelerator.mixed_precision == "bf16":
        plugin.mixed_precision_policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32)


def shard_frozen(accelerator: Accelerator, model: nn.Module) -> nn.Module:
    """Return a model that is never trained, sharded layer by layer under FSDP2.

    TRL shards its teacher as one unit, so every device holds all of it during a forward pass. Layers are resharded after
    their pass, because an EMA teacher is updated shard by shard.
    """
    plugin = accelerator.state.fsdp_plugin
    policy = plugin.mixed_precision_policy or MixedPrecisionPolicy()
    options = {"mp_policy": policy, "offload_policy": plugin.cpu_offload, "reshard_after_forward": True}
    for layer in model.base_model.layers:
        fully_shard(layer, **options)
    return prepare_fsdp(model, accelerator)


def check_head_is_whole(head: nn.Module) -> None:
    """Raise RuntimeError if a trained head is still sharded: its gradient would lack the rows of other processes.

    It is whole from the policy's forward pass until the end of the backward pass.
    """
    if isinstance(head.weight, DTensor) and head.weight.requires_grad and torch.is_grad_enabled():
        raise RuntimeError("the output head is sharded; read it after the forward pass of the model")


def check_teacher_can_move(accelerator: Accelerator) -> None:
    """Raise ValueError for an EMA teacher under DeepSpeed.

    DeepSpeed keeps a model without optimizer in bfloat16 only, which would round the teacher's updates (5 % of a small
    update) to nothing, in training and in checkpoints.
    """
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        raise ValueError(
            "an EMA teacher needs float32 weights, which DeepSpeed does not keep: use fsdp or ddp"
        )


def save_whole(accelerator: Accelerator, model: nn.Module, file: Path) -> None:
    """Write a model's whole state, gathered from all processes. All must call this; process 0 writes."""
    state = accelerator.get_state_dict(model)
    if accelerator.is_main_process:
        torch.save(state, file)


def load_whole(accelerator: Accelerator, model: nn.Module, file: Path) -> None:
    """Load into `model` what `save_whole` wrote, each process its part. All must call this."""
    unwrapped = accelerator.unwrap_model(model)
    if isinstance(unwrapped, FSDPModule):
        state = torch.load(file, map_location="cpu", weights_only=True) if accelerator.is_main_process else {}
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
        set_model_state_dict(unwrapped, state, options=options)
    else:
        unwrapped.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
