"""SFT on data sets that are matched in tokens: is it what the responses say, or that there is less to learn from?

Section 4 compares sets of as many examples of the same problems. Solution-guided responses are shorter, so their set has fewer tokens. Here the
longer sets are cut to the tokens of the shortest (sampling.matching), and all are passed over as often. The other way, to repeat the shortest
set, would compare one pass with several.
"""

from dataclasses import replace

from selfdistill.study.methods.sft import SFT, SftSettings
from selfdistill.vocabulary.looks import GREEN, PURPLE, SKY, YELLOW, Look


class SftMatchedSettings(SftSettings):
    """SFT on data sets of as many tokens."""


SFT_MATCHED = replace(
    SFT,
    name="sft-matched",
    label="SFT on D_{subset}, equal tokens",
    settings=SftMatchedSettings,
    sections=(*SFT.sections, "sft-matched"),
    equal_tokens=True,
    looks={
        "unguided": Look(SKY, "1", "--"),
        "solution": Look(PURPLE, "2", "||"),
        "answer-only": Look(GREEN, "3", "--"),
        "regeneration": Look(YELLOW, "4", "||"),
    },
)
