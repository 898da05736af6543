"""Reading the results of a study, from notebooks/ or a Python prompt: runs, records, numbers, answers.

No rule imports this package, so a change here reruns no job. It computes no number of its own: intervals come
from the study's frames, or from `statistics` where a notebook contrasts what the study does not.
"""

from selfdistill.explore.answers import answers_html, choose_problems, collect_answers
from selfdistill.explore.plots import draw_forest, run_label
from selfdistill.explore.results import ResultsError, StudyResults, open_study

__all__ = [
    "ResultsError",
    "StudyResults",
    "answers_html",
    "choose_problems",
    "collect_answers",
    "draw_forest",
    "open_study",
    "run_label",
]
