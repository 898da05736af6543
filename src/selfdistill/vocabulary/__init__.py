"""The study's vocabulary, declared once: contexts, families, teachers, run fields, epistemic words.

Config choices, wildcards, labels, colours and orders are derived from these declarations. A name that must be written
in a second place is a defect.
"""
