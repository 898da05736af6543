"""The figures in the paper's form, one module per subject; `study.displays` registers each.

A drawing function takes StudyData with the runs to draw (`StudyData.of_runs`) and returns the figure and its caption, both from these runs.
"""
