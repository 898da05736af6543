"""The tables in the paper's form; `study.displays` registers each.

A table's function takes StudyData with the runs to show and returns rows of entries and the note below them (`form`). The paper's numbers stand
beside ours in columns of their own, each with its mark (`reported`): S2 and S1 are second-hand, D is digitised, I is inferred.
"""
