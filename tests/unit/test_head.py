"""Reading hidden states and head from a model: what is refused, and that wrappers' hooks run."""

import os
import socket
from types import SimpleNamespace

import pytest
import tiny
import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModelForCausalLM

from selfdistill.training.loss.chunked import LossOptions, chunked_distillation
from selfdistill.training.loss.head import check_linear_head, hidden_at, output_head, through_wrapper
from selfdistill.training.loss.losses import distillation_loss

OPTIONS = LossOptions(0.5, 20, True, None)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.save_base(tmp_path_factory.mktemp("head") / "base")


def batch(rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids, attention mask and chosen completion tokens; every rank has its own."""
    generator = torch.Generator().manual_seed(rank)
    ids = torch.randint(5, 60, (3, 12), generator=generator)
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    tokens = torch.rand(3, 5, generator=generator) < 0.7
    return ids, mask, tokens


def chunked_sum(wrapper, model, teacher, rank: int) -> torch.Tensor:
    """The loss as the trainer computes it, with a teacher that sees the same context."""
    ids, mask, tokens = batch(rank)

    def teacher_hidden(ids, mask):
        return hidden_at(teacher, ids, mask, tokens)

    with torch.no_grad():
        hidden = through_wrapper(teacher, teacher, teacher_hidden, ids, mask)

    def loss(ids, mask):
        heads = output_head(model), output_head(teacher)
        chosen = ids[:, -tokens.shape[1] :][tokens]
        states = hidden_at(model, ids, mask, tokens)
        return chunked_distillation(states, heads[0], hidden, heads[1], chosen, None, OPTIONS, budget=4000)[0]

    return through_wrapper(wrapper, model, loss, ids, mask)


def dense_sum(model, teacher, rank: int) -> torch.Tensor:
    """The same loss from the logits of the models' own forward."""
    ids, mask, tokens = batch(rank)
    pair = [
        m(input_ids=ids, attention_mask=mask).logits[:, -tokens.shape[1] - 1 : -1][tokens]
        for m in (model, teacher)
    ]
    chosen = ids[:, -tokens.shape[1] :][tokens]
    return distillation_loss(pair[0], pair[1].detach(), chosen, None, **OPTIONS.arguments()).sum()


def load_pair(base):
    student, teacher = (AutoModelForCausalLM.from_pretrained(base).eval() for _ in range(2))
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(1.2)
    return student, teacher.requires_grad_(False)


def assert_gradients(model, expected) -> None:
    for (name, parameter), right in zip(model.named_parameters(), expected, strict=True):
        actual = parameter.grad
        actual = actual.full_tensor() if hasattr(actual, "full_tensor") else actual
        assert (actual - right).abs().max() <= 1e-4 * right.abs().max(), name


def test_hidden_states_and_head_give_the_models_own_loss_and_gradients(base):
    student, teacher = load_pair(base)
    expected = dense_sum(student, teacher, 0)
    gradients = torch.autograd.grad(expected, student.parameters())
    loss = chunked_sum(student, student, teacher, 0)
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    assert_gradients(student, gradients)


def run_rank(rank: int, base, port: int, wrap: str) -> None:
    """One of two processes."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    check_mean_gradients(rank, base, wrap)
    distributed.barrier()
    distributed.destroy_process_group()  # after the wrapper is gone: it would wait for the group


def check_mean_gradients(rank: int, base, wrap: str) -> None:
    """Gradients are the mean over both processes, whatever the wrapper."""
    student, teacher = load_pair(base)
    shares = [torch.autograd.grad(dense_sum(student, teacher, r), student.parameters()) for r in (0, 1)]
    expected = [(a + b) / 2 for a, b in zip(*shares, strict=True)]
    if wrap == "ddp":
        wrapper = DistributedDataParallel(student)
    else:
        for model in (student, teacher):
            for layer in model.model.layers:
                fully_shard(layer, reshard_after_forward=True)
            fully_shard(model, reshard_after_forward=True)
        wrapper = student
    chunked_sum(wrapper, student, teacher, rank).backward()
    assert_gradients(student, expected)


@pytest.mark.parametrize("wrap", ["ddp", "fsdp2"])
def test_wrappers_reduce_the_gradients_of_the_loss(base, wrap):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(run_rank, (base, port, wrap), nprocs=2)


def model_with(head: nn.Module, **config):
    text = SimpleNamespace(to_dict=lambda: config)
    return SimpleNamespace(
        get_output_embeddings=lambda: head, config=SimpleNamespace(get_text_config=lambda: text)
    )


def test_heads_that_are_more_than_linear_are_refused():
    head = nn.Linear(4, 6)
    check_linear_head(model_with(head, final_logit_softcapping=None))
    with pytest.raises(ValueError, match="after the head .final_logit_softcapping"):
        check_linear_head(model_with(head, final_logit_softcapping=30.0))
    with pytest.raises(ValueError, match="Sequential"):
        check_linear_head(model_with(nn.Sequential(head)))
