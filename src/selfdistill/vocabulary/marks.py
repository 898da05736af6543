"""How well a number of others is known."""

MARKS = {
    "F": "first party (authors' repository)",
    "V": "verbatim paper text",
    "S2": "second-hand, two or more readers agree",
    "S2*": "second-hand, two notes by one reader",
    "S1": "second-hand, one reader",
    "D": "digitised from the authors' figure",
    "I": "inferred from other numbers",
}
"""Marks of the paper's numbers (config/reported.yaml), from secure to insecure but for the last two."""
ELSEWHERE_MARKS = MARKS | {
    "code": "numbers in the authors' repository",
    "text": "the full text was read",
    "abstract": "only the abstract or an excerpt was read",
}
"""Marks of what others measured since (config/elsewhere.yaml)."""
