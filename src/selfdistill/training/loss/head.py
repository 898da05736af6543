"""Hidden states and output head of a causal language model in training, for losses that need these and not logits
(`chunked`).

With every wrapper (DistributedDataParallel, FSDP, DeepSpeed, PEFT), parameters are whole and hooks run only inside the
wrapper's forward pass. `through_wrapper` therefore computes a loss there, as TRL's distillation trainer does.
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

# configuration keys of models that change their logits after the head
AFTER_HEAD = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "lm_head_multiplier",
    "output_multiplier",
)


def causal_model(unwrapped: nn.Module) -> PreTrainedModel:
    """Return the causal language model; unwrapped: that model or a PEFT model of it, without distributed wrapper."""
    return unwrapped if isinstance(unwrapped, PreTrainedModel) else unwrapped.get_base_model()


def check_linear_head(model: PreTrainedModel) -> None:
    """Raise ValueError if logits are not a plain linear function of hidden states, or the head has an adapter.

    A loss on hidden states would silently leave the difference out.
    """
    head, config = model.get_output_embeddings(), model.config.get_text_config().to_dict()
    after = [name for name in AFTER_HEAD if config.get(name) is not None]
    if type(head) is not nn.Linear:
        raise ValueError(f"the output head must be a plain Linear layer, not {type(head).__name__}")
    if after:
        raise ValueError(f"{type(model).__name__} changes its logits after the head ({', '.join(after)})")


def output_head(model: PreTrainedModel) -> Head:
    """Return the model's head, whole even if FSDP2 shards it."""
    head = model.get_output_embeddings()
    parts = (head.weight, head.bias)
    return Head(*(x.full_tensor() if isinstance(x, DTensor) else x for x in parts))


def hidden_at(
    model: PreTrainedModel, ids: torch.Tensor, attention_mask: torch.Tensor, tokens: torch.Tensor
) -> torch.Tensor:
    """Return the last hidden states that predict the chosen completion tokens, (chosen tokens, hidden).

    ids, attention_mask: (rows, prompt + completion); tokens: (rows, completion), bool, the chosen ones. Prompts of several
    rows are run once if possible.
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
    """Return function(*tensors), run as the forward pass of `wrapper`: parameters are gathered and gradients reduced.

    tensors: of integers, because FSDP would cast others.
    """
    return _ForwardRedirection()(wrapper, unwrapped, function, *tensors)
