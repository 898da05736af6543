"""Values that are valid one by one and impossible together: refused before any DAG is built.

A check is a small generator over a study; it yields what cannot work, with the key, the problem and what is allowed there.
What only the data can show (lengths of real prompts, rows of a file) is checked by the job that reads them.
"""

from typing import TYPE_CHECKING

from selfdistill.study.feasibility.catalogue import (
    check_organisms,
    check_polish,
    check_shapes,
    check_thinking,
)
from selfdistill.study.feasibility.draws import (
    check_interventions,
    check_lengths,
    check_sampling,
    check_seeds,
)
from selfdistill.study.feasibility.impossible import Check
from selfdistill.study.feasibility.problem_sets import (
    check_benchmark_files,
    check_domains,
    check_files,
    check_made_benchmarks,
    check_off_policy,
    check_problem_types,
)
from selfdistill.study.feasibility.training import (
    check_contexts,
    check_hints,
    check_instructions,
    check_teacher_names,
    check_training,
    check_unused,
)
from selfdistill.study.yaml import reject

if TYPE_CHECKING:
    from selfdistill.study.study import Study

CHECKS: tuple[Check, ...] = (
    check_shapes,
    check_organisms,
    check_polish,
    check_thinking,
    check_problem_types,
    check_made_benchmarks,
    check_files,
    check_benchmark_files,
    check_domains,
    check_off_policy,
    check_contexts,
    check_hints,
    check_instructions,
    check_teacher_names,
    check_seeds,
    check_sampling,
    check_lengths,
    check_interventions,
    check_unused,
)
"""Every check of what a file declares, in the order in which they run; `check_training` follows, for what is done of it."""


def check_feasible(study: "Study", done: "Study") -> None:
    """Raise StudyError for the first value that is impossible given the others; done: the study with the experiments that are done."""
    for check, own in (*((check, study) for check in CHECKS), (check_training, done)):
        for found in check(own):
            path = study.path.with_name(found.file) if found.file else study.path
            reject(path, found.key, found.problem, found.allowed, found.value)
