"""The paper's claims, judged: config/claims.yaml and the samples of a study give a verdict for each claim.

`ledger` reads the file, `plan` finds the runs that test a claim in a study's grid (or says which is missing),
`judge` computes effects, intervals and verdicts, `page` writes them for readers. Paper: paper.md section 6.
"""
