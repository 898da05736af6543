"""What every generation backend takes and gives, so that the code right of it never asks which one ran.

Used by richness (section 3), off_policy (section 4) and evaluation; the on-policy trainers call a backend's batch function
directly, because their model lives inside the trainer.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn.

    temperature and top_p as usual; top_k = 0 switches the top-k cut off; max_new_tokens counts response tokens with the
    end-of-sequence token; banned_words are never sampled (a control experiment, not part of the paper).
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 128
    banned_words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Completion:
    """One response: its token ids (end-of-sequence token included when it was reached) and its decoded text."""

    token_ids: tuple[int, ...]
    text: str
    truncated: bool


class Generator(Protocol):
    """A loaded model that answers user turns."""

    def generate(
        self, user_turns: list[str], samples: int, sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """`samples` completions for each user turn; the same arguments give the same completions."""
