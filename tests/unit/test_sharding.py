"""What is refused, and which precision is set, where weights lie in shards; test_distributed trains with them."""

from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import DistributedType
from torch import nn

from selfdistill.training.distributed.sharding import (
    check_teacher_can_move,
    load_whole,
    save_whole,
    set_precision,
)


def accelerator(kind: DistributedType, precision: str = "bf16", **plugin):
    """What these functions ask of an accelerator."""
    plugin = SimpleNamespace(
        **{"fsdp_version": 2, "cpu_ram_efficient_loading": False, "mixed_precision_policy": None} | plugin
    )
    return SimpleNamespace(
        distributed_type=kind, mixed_precision=precision, state=SimpleNamespace(fsdp_plugin=plugin)
    )


def test_passes_compute_in_bfloat16_and_nothing_else_is_rounded_to_it():
    fsdp = accelerator(DistributedType.FSDP)
    set_precision(fsdp)
    policy = fsdp.state.fsdp_plugin.mixed_precision_policy
    assert (policy.param_dtype, policy.reduce_dtype) == (torch.bfloat16, torch.float32)
    assert policy.output_dtype is None, "a sum of losses or a log-probability would lose all but three digits"


def test_other_precisions_and_wrappers_are_left_alone():
    for other in (accelerator(DistributedType.FSDP, "no"), accelerator(DistributedType.MULTI_GPU)):
        set_precision(other)
        assert other.state.fsdp_plugin.mixed_precision_policy is None


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        ({"fsdp_version": 1}, "fsdp_version must be 2"),
        ({"cpu_ram_efficient_loading": True}, "only process 0 has the teacher's weights"),
    ],
)
def test_configurations_that_would_train_something_else_are_refused(plugin, message):
    with pytest.raises(ValueError, match=message):
        set_precision(accelerator(DistributedType.FSDP, **plugin))


def test_a_moving_teacher_is_refused_under_deepspeed_only():
    with pytest.raises(ValueError, match="use fsdp or ddp"):
        check_teacher_can_move(accelerator(DistributedType.DEEPSPEED))
    check_teacher_can_move(accelerator(DistributedType.FSDP))


def test_a_whole_state_comes_back(tmp_path):
    alone = SimpleNamespace(
        get_state_dict=lambda model: model.state_dict(),
        unwrap_model=lambda model: model,
        is_main_process=True,
    )
    saved, other = nn.Linear(3, 2), nn.Linear(3, 2)
    save_whole(alone, saved, tmp_path / "teacher.pt")
    load_whole(alone, other, tmp_path / "teacher.pt")
    assert all(map(torch.equal, saved.parameters(), other.parameters()))
