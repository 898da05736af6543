"""The sizes of the GPU tests. The same code runs at a tiny size on a CPU, so that none of it is first run on a card."""

import os
from dataclasses import dataclass

import torch

SWITCH = "SELFDISTILL_GPU_TESTS"
TINY_ON_CPU = os.environ.get(SWITCH) == "tiny"
"""Whether the tests run at the tiny size, on the CPU, whatever the machine has."""
CUDA = torch.cuda.is_available() and not TINY_ON_CPU
DEVICE = torch.device("cuda" if CUDA else "cpu")


@dataclass(frozen=True)
class Sizes:
    """vocabulary: of all models and losses; hidden: width of the losses' heads; exact_tokens: for the comparison with
    float64; loss_tokens: for memory and time; top_k: of the distillation; repeats: timed passes.

    width, layers, heads, key_heads, head_dim, feed_forward: shape of the model in the training steps; response: its tokens
    per rollout; answers: problems in the evaluation, of at most answer_tokens tokens each.
    """

    vocabulary: int
    hidden: int
    exact_tokens: int
    loss_tokens: int
    top_k: int
    repeats: int
    width: int
    layers: int
    heads: int
    key_heads: int
    head_dim: int
    feed_forward: int
    response: int
    answers: int
    answer_tokens: int


FULL = Sizes(
    vocabulary=151_936, hidden=4096, exact_tokens=256, loss_tokens=20_480, top_k=100, repeats=3,
    width=2048, layers=28, heads=16, key_heads=8, head_dim=128, feed_forward=6144,
    response=8192, answers=32, answer_tokens=128,
)  # fmt: skip
"""The losses at the paper's longest response (paper.md 4.3) and the width of Qwen3-8B; the model has the shape of Qwen3-1.7B."""
TINY = Sizes(
    vocabulary=1024, hidden=32, exact_tokens=48, loss_tokens=192, top_k=20, repeats=1,
    width=32, layers=2, heads=2, key_heads=1, head_dim=16, feed_forward=48,
    response=24, answers=4, answer_tokens=8,
)  # fmt: skip
SIZES = FULL if CUDA else TINY
