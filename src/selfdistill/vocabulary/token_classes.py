"""Classes of a response's tokens: where in the response they are, and two that cross these."""

POSITIONS = ("opener", "fork", "candidate", "answer", "other")
"""Every token has one of them (`grading.positions`)."""
EPISTEMIC, HIGH_ENTROPY = "epistemic", "high-entropy"
"""Tokens of the epistemic words, and tokens at which the student was least sure."""
TOKEN_CLASSES = (*POSITIONS, EPISTEMIC, HIGH_ENTROPY)
