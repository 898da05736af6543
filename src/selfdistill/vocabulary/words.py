"""The ten epistemic words of the paper (section 2), the columns of their counts, and the measure of repetition beside them."""

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
REPETITION = "repeated_4grams"
"""The metric beside the counts: the share of a response's 4-grams of words that have occurred before in it."""
