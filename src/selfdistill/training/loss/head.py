"""Hidden states and output head of a causal language model in training, for losses that read these in place of
logits (`chunked`).

Whatever wraps the model (DistributedDataParallel, FSDP, DeepSpeed, PEFT), its parameters are whole and its hooks
run inside the wrapper's own forward only; `through_wrapper` therefore runs a loss there, as TRL's distillation
trainer does.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel
from trl.models.utils import _ForwardRedirection

from selfdistill.fast_cpu.shared_prefix import shared_hidden
from selfdistill.training.loss.projection import Head

# keys of a configuration by which a model changes its logits after the head
AFTER_HEAD = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "lm_head_multiplier",
    "output_multiplier",
)


def causal_model(unwrapped: nn.Module) -> nn.Module:
    """The causal language model in a model freed of its distributed wrappers: inside a PEFT model, its base."""
    return unwrapped if isinstance(unwrapped, PreTrainedModel) else unwrapped.get_base_model()


def check_linear_head(model: nn.Module) -> None:
    """Refuse (ValueError) a model whose logits are not a plain linear function of its hidden states, or whose
    head carries an adapter: a loss on hidden states would leave that out without a word.
    """
    head, config = model.get_output_embeddings(), model.config.get_text_config().to_dict()
    after = [name for name in AFTER_HEAD if config.get(name) is not None]
    if type(head) is not nn.Linear:
        raise ValueError(
            f"the output head is a {type(head).__name__}, but the loss needs a plain Linear layer"
        )
    if after:
        raise ValueError(f"{type(model).__name__} changes its logits after the head ({', '.join(after)})")


def output_head(model: nn.Module) -> Head:
    """The model's head, whole also where FSDP2 shards it."""
    head = model.get_output_embeddings()
    parts = (head.weight, head.bias)
    return Head(*(x.full_tensor() if isinstance(x, DTensor) else x for x in parts))


def hidden_at(
    model: nn.Module, ids: torch.Tensor, attention_mask: torch.Tensor, tokens: torch.Tensor
) -> torch.Tensor:
    """Last hidden states from which the chosen completion tokens are predicted, (chosen tokens, hidden).

    ids, attention_mask: (rows, prompt + completion); tokens: bool, (rows, completion), which ones. Where it can, a prompt that
    several rows share is run once.
    """
    prompt = ids.shape[1] - tokens.shape[1]
    parts = ids[:, :prompt], attention_mask[:, :prompt], ids[:, prompt:]
    shared = shared_hidden(model, *parts, tokens)
    if shared is not None:
        return shared
    states = model.base_model(input_ids=ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
    return states[:, -tokens.shape[1] - 1 : -1][tokens]


def through_wrapper(
    wrapper: nn.Module, unwrapped: nn.Module, function: Callable[..., Any], *tensors: torch.Tensor
) -> Any:
    """function(*tensors), run as the forward of `wrapper`, so that its parameters are gathered and gradients
    reduced.

    tensors: integers; FSDP would cast what is not.
    """
    return _ForwardRedirection()(wrapper, unwrapped, function, *tensors)
