"""Student and teacher on the same tokens: their divergence, and what the teacher's context does to the probability of epistemic words.

An epistemic word is counted where it is a token of its own, in any case and with or without the space before it.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from selfdistill.sampling.scoring import BATCH_TOKENS, CHUNK_TOKENS, LOGIT_BYTES, by_response, response_logits
from selfdistill.training.loss.chunked import LossOptions
from selfdistill.training.loss.losses import distillation_loss
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


def epistemic_ids(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the tokens that are an epistemic word (`whole_word_ids`)."""
    return whole_word_ids(tokenizer, EPISTEMIC_WORDS)


def whole_word_ids(tokenizer: "PreTrainedTokenizerBase", words: Sequence[str]) -> list[int]:
    """Return the tokens that are one of `words`, in any case and with or without space; words without one are logged."""
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    found = [text.strip().lower() for text in texts]
    missing = sorted(set(words) - set(found))
    if missing:
        logger.warning("no token of the vocabulary is one of these words: %s", ", ".join(missing))
    return [token for token, word in enumerate(found) if word in words]


@torch.no_grad()
def token_contrast(
    model: "PreTrainedModel",
    students: Sequence[Sequence[int]],
    teachers: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    loss: LossOptions,
    words: Sequence[int],
) -> np.ndarray:
    """Return (divergence, change of the probability of `words`) of every token, (all tokens, 2), in the order of the responses.

    students, teachers, responses: token ids, as many of each.
    """
    lengths = np.array([len(prompt) + len(own) for prompt, own in zip(teachers, responses, strict=True)])
    limit = min(BATCH_TOKENS, LOGIT_BYTES // (8 * model.config.get_text_config().vocab_size))
    ids = torch.tensor(list(words), dtype=torch.long, device=next(model.parameters()).device)

    def contrasts(rows: np.ndarray) -> np.ndarray:
        """Return what is returned of a batch of rows, one after the other."""
        own = [responses[row] for row in rows]
        student, targets = response_logits(model, [students[row] for row in rows], own)
        teacher, _ = response_logits(model, [teachers[row] for row in rows], own)
        chunks = zip(*(x.split(CHUNK_TOKENS) for x in (student, teacher, targets)), strict=True)
        return torch.cat([chunk_contrast(*chunk, loss, ids) for chunk in chunks]).double().cpu().numpy()

    return np.concatenate(by_response(lengths, responses, limit, contrasts))


def chunk_contrast(
    student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, loss: LossOptions, ids: torch.Tensor
) -> torch.Tensor:
    """Return what `token_contrast` does, (tokens, 2), from the logits of a chunk, (tokens, vocabulary); ids: (words,)."""
    student, teacher = (logits.float() / loss.temperature for logits in (student, teacher))
    divergence = distillation_loss(student, teacher, targets, None, **loss.arguments())
    before, after = (
        (logits[:, ids].logsumexp(-1) - logits.logsumexp(-1)).exp() for logits in (student, teacher)
    )
    return torch.stack([divergence, after - before], dim=1)
