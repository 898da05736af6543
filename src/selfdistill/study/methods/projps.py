"""projPS: the teacher may say which word of a kind follows, but not which kind.

Tokens are in three groups g: epistemic words (`vocabulary.words`), confident words, and the rest. The target has the student's masses s(g)
and the teacher's distributions within the groups,

    t'(v) = sg[s(g)] t(v) / t(g)  for v in g,   L = D_alpha(s, t') = sum over g of s(g) D_alpha(s(. | g), t(. | g)),

with D of SDPO over the whole vocabulary and sg without gradient. Our own method; no published form. A pilot of it on an organism took away
the harm of self-distillation. Our choices: a word is in a group where it is a whole token, in any case and with or without the space before
it; the confident words (by default so, thus, therefore, clearly); learning rate, teacher and context as SDPO's. A model that
can show its confidence in other words than these is not held back from it.
"""

from typing import Annotated

from pydantic import AfterValidator, Field

from selfdistill.study.methods.sdpo import SdpoSettings
from selfdistill.study.methods.target import check_whole_vocabulary, target_method
from selfdistill.vocabulary.looks import Look
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

CONFIDENT_WORDS = ("so", "thus", "therefore", "clearly")
"""Words that open a step without doubt, those of the organism's confident responses."""


def one_group_each(words: list[str]) -> list[str]:
    """Return confident words; raise ValueError for one that no token can be, or that is epistemic too."""
    for word in words:
        if word != word.strip().lower():
            raise ValueError(f"{word!r} must be in small letters, without spaces around it")
        if word in EPISTEMIC_WORDS:
            raise ValueError(
                f"{word!r} is an epistemic word; allowed: words other than {', '.join(EPISTEMIC_WORDS)}"
            )
    return words


class ProjpsSettings(SdpoSettings):
    """projPS: SDPO within epistemic words, confident words and the rest; `top_k` must be null, so `tail` has no effect."""

    confident_words: Annotated[list[str], AfterValidator(one_group_each)] = Field(
        default=[*CONFIDENT_WORDS], description="words of the second group, in small letters"
    )


PROJPS = target_method(
    "projps", "projPS", ProjpsSettings, 6.0, Look("#6699CC", "D", "\\\\"), (check_whole_vocabulary,)
)
