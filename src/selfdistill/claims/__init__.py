"""Verdicts on the paper's claims, from config/claims.yaml and the samples of a study (paper.md 6).

`ledger` reads the file, `selection` finds the runs of a study's grid that test a claim (or reports what is missing), `judge`
computes effects and intervals, and `verdicts` what they say about the claims.
"""
