"""Interventions on words: the distribution of the next token is changed before it is drawn, or the token after.

- `ban`: the words have probability 0 before top-k and top-p; the other tokens share it in their own proportions.
- `force`: the base reads the same tokens. Where it gives the words together a higher probability than the model does, at the study's
  temperature, top-k and top-p, they get that of the base, each its own, and all other tokens share the rest. So a model that has lost
  the words writes them as often as the base would at the same place, and nothing else about it changes.
- `neutral`: the model draws as ever. A word that is drawn is replaced by a neutral one, which the model then reads. A response is the
  one without the intervention up to its first word.

A word is represented by the first tokens of its forms: with and without a space before it, capitalised or not. In the organisms and
for most words of real tokenizers, the first token is the whole word. A word of several tokens shares its first token with other words
("Hmm" may begin with "H"), and these are then changed as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from selfdistill.generation.protocol import Sampling
from selfdistill.vocabulary.interventions import BAN, FORCE, NEUTRAL, NEUTRAL_WORD, NONE

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


Form = tuple[str, bool]
"""A way to write a word: the space before it, and whether it is capitalised."""


def word_starts(tokenizer: "PreTrainedTokenizerBase", word: str) -> dict[Form, int]:
    """Return form -> first token id of the word. Raise ValueError if the vocabulary has no form of it."""
    forms = {
        (space, big): space + (word.capitalize() if big else word)
        for big in (False, True)
        for space in ("", " ")
    }
    encoded = {form: tokenizer.encode(text, add_special_tokens=False) for form, text in forms.items()}
    found = {form: ids[0] for form, ids in encoded.items() if ids and ids[0] != tokenizer.unk_token_id}
    if not found:
        raise ValueError(f"the vocabulary has no token for the word {word!r}")
    return found


def word_ids(tokenizer: "PreTrainedTokenizerBase", words: Sequence[str]) -> list[int]:
    """Return the first token ids of all forms of some words. Raise ValueError as `word_starts` does."""
    return sorted({start for word in words for start in word_starts(tokenizer, word).values()})


def neutral_ids(tokenizer: "PreTrainedTokenizerBase", words: Sequence[str]) -> dict[int, int]:
    """Return first token id of a word -> that of NEUTRAL_WORD in the same form, in its first form where it lacks this one."""
    neutral = word_starts(tokenizer, NEUTRAL_WORD)
    default = next(iter(neutral.values()))
    pairs = [pair for word in words for pair in word_starts(tokenizer, word).items()]
    return {start: neutral.get(form, default) for form, start in reversed(pairs)}


@dataclass(frozen=True)
class Intervention:
    """What `sample_batch` does to words, in token ids; None where it does nothing.

    banned: ids that get probability 0, (ids,). forced: ids that get at least the probability that `reference`, the base model,
    gives to them together after the same tokens, (ids,). replaced: ids that are drawn, and those that are written in their place, (2, ids).
    """

    banned: torch.Tensor | None = None
    forced: torch.Tensor | None = None
    reference: "PreTrainedModel | None" = None
    replaced: torch.Tensor | None = None

    def on(self, device: torch.device) -> "Intervention":
        """Return the same with its ids on a device."""
        ids = {name: getattr(self, name) for name in ("banned", "forced", "replaced")}
        return replace(self, **{name: own.to(device) for name, own in ids.items() if own is not None})

    def before(self, probabilities: torch.Tensor, reference: torch.Tensor | None) -> torch.Tensor:
        """Return the probabilities to draw from, (rows, vocabulary); reference: those of the base after the same tokens."""
        return probabilities if reference is None else raise_to(probabilities, reference, self.forced)

    def after(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the tokens to write, (rows,), in place of those that were drawn."""
        if self.replaced is None:
            return tokens
        source, target = self.replaced
        found = tokens[:, None] == source
        return torch.where(found.any(1), target[found.int().argmax(1)], tokens)


NO_INTERVENTION = Intervention()


def intervention_of(
    sampling: Sampling, tokenizer: "PreTrainedTokenizerBase", base: "PreTrainedModel | None" = None
) -> Intervention:
    """Return the intervention of `sampling` in token ids; base: the model that `force` takes the words' probability from.

    Raise ValueError for an unknown intervention, `force` without a base, and a word without a token.
    """
    match sampling.intervention:
        case "none":
            return NO_INTERVENTION
        case "ban":
            return Intervention(banned=torch.tensor(word_ids(tokenizer, sampling.words)))
        case "neutral":
            return Intervention(replaced=torch.tensor([*neutral_ids(tokenizer, sampling.words).items()]).T)
        case "force" if base is not None:
            return Intervention(forced=torch.tensor(word_ids(tokenizer, sampling.words)), reference=base)
        case "force":
            raise ValueError("the intervention force needs the base model")
    allowed = ", ".join((NONE, BAN, FORCE, NEUTRAL))
    raise ValueError(f"unknown intervention {sampling.intervention!r}; allowed: {allowed}")


def raise_to(probabilities: torch.Tensor, reference: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """Return probabilities, (rows, vocabulary), in which `words` together have at least their probability in `reference`.

    Where they have less, they get those of the reference, and all other tokens share the rest in their own proportions.

    >>> raise_to(torch.tensor([[0.0, 0.75, 0.25]]), torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([0]))
    tensor([[0.5000, 0.3750, 0.1250]])
    """
    own, asked = (values[:, words].sum(-1, keepdim=True) for values in (probabilities, reference))
    raised = (probabilities * (1 - asked) / (1 - own)).index_copy(1, words, reference[:, words])
    return torch.where(asked > own, raised, probabilities)
