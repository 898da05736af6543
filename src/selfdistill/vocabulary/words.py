"""The ten epistemic words of the paper (section 2) and the columns of their counts."""

EPISTEMIC_WORDS: tuple[str, ...] = (
    "wait",
    "hmm",
    "perhaps",
    "maybe",
    "actually",
    "alternatively",
    "seems",
    "might",
    "likely",
    "check",
)
SUBSTRING_COLUMNS: tuple[str, ...] = tuple(f"substring_{word}" for word in EPISTEMIC_WORDS)
WORD_COLUMNS: tuple[str, ...] = tuple(f"word_{word}" for word in EPISTEMIC_WORDS)
