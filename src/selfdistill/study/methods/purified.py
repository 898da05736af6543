"""Purified OPSD (arXiv 2607.02234): the target is the base, moved by what the reference says only together with the question.

    d = log q(. | x, r) - log pi(. | r),   centred,   P = softmax(log b + width tanh(d / width) / beta),   L = JSD(s, P)

with q the teacher that sees question x and reference r, pi the same model without the question, and b the frozen base with the question
only. Published, known from a reader's notes only: beta 1, width (c) 10, LoRA of rank 64, learning rate 5e-6, 1,024-token rollouts, 200
steps. Our choices, because unknown: d is centred by its mean over the vocabulary, each token counting once; pi sees the teacher's prompt
without the question (as the context `reference-only`); q, pi and b have the same weights, those of the base, so the teacher must be
`fixed`; the reference is another right response of the group, and rollouts without one have no loss; the JSD is SDPO's D with alpha 0.5,
over the whole vocabulary, with SDPO's importance weights; all weights are trained, not LoRA's.
"""

from pydantic import Field

from selfdistill.study.fields import Rate
from selfdistill.study.methods.sdpo import SdpoSettings
from selfdistill.study.methods.target import check_fixed, check_whole_vocabulary, target_method
from selfdistill.vocabulary.contexts import CONTEXTS, TEACHER
from selfdistill.vocabulary.looks import Look


class PurifiedSettings(SdpoSettings):
    """Purified OPSD: the base, moved by what only question and reference together say; `top_k` must be null, so `tail` has no effect."""

    width: Rate = Field(
        default=10.0, description="nats at which the difference of the teachers levels off (c)"
    )
    beta: Rate = Field(default=1.0, description="temperature of the difference")


PURIFIED = target_method(
    "purified",
    "Purified OPSD",
    PurifiedSettings,
    8.0,
    Look("#88CCEE", "p", "xx"),
    (check_whole_vocabulary, check_fixed),
    tuple(name for name in TEACHER if CONTEXTS[name].turn is None),
)
