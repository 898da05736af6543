"""Every word of the study, declared once: contexts, families, teachers, run fields, epistemic words.

Config choices, wildcards, labels, colours and orders are derived from these declarations. A word that has to be
written in a second place is a defect.
"""
