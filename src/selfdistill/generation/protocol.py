"""The interface of every generation backend; callers never ask which one runs.

Used by `sampling` (sections 3 and 4, evaluation). The on-policy trainers call a backend's batch function directly, because
their model lives inside the trainer.
"""

from dataclasses import dataclass
from typing import Protocol

from selfdistill.vocabulary.interventions import NONE
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

ENGINE_SHARE = 0.85
"""Share of a card's memory that an engine takes where it runs alone."""


@dataclass(frozen=True)
class Sampling:
    """How responses are sampled.

    temperature, top_p: as usual; top_k: 0 for no limit; max_new_tokens: includes the end-of-sequence token; intervention: on
    `words` (vocabulary.interventions).
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 128
    intervention: str = NONE
    words: tuple[str, ...] = EPISTEMIC_WORDS


@dataclass(frozen=True)
class Completion:
    """One response.

    token_ids: with the end-of-sequence token if it was sampled; text: decoded, without special tokens; truncated: whether it
    was not.
    """

    token_ids: tuple[int, ...]
    text: str
    truncated: bool


class Generator(Protocol):
    """A loaded model that answers user turns."""

    def generate(
        self, user_turns: list[str], samples: int, sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Return `samples` completions per user turn; the same arguments give the same completions."""
