"""Grading of answers and counting of epistemic words."""
