"""Jobs that make problem sets: training sets, benchmarks, and nested coverage subsets (section 6.2)."""

import logging
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any

from selfdistill.problems.problem import coverage_subset, read_problems, write_problems
from selfdistill.problems.sources import missing_from, read_hub_problems
from selfdistill.records.task import Facts, Task, job
from selfdistill.seeds import derive_seed
from selfdistill.study.jobs import ProblemsParams, SubsetParams

logger = logging.getLogger(__name__)

MAKERS = {
    "organism": "selfdistill.organism.chains:make_problem_set",
    "hub": "selfdistill.problems.sources:read_hub_problems",
}
"""Source of a problem set -> what makes it."""
STREAMS = {"train": "problems", "held-out": "benchmark"}
"""Split -> name of its random stream."""


def maker_module(params: Mapping[str, Any]) -> Sequence[str]:
    """Return the module that makes a job's problems."""
    return (MAKERS[params["job"]["spec"]["source"]].partition(":")[0],)


@job(late=maker_module)
def build_problems(task: Task) -> Facts:
    """Write a whole training set or a benchmark, made or fetched, in the schema that all scales share."""
    params = ProblemsParams.model_validate(task.params["job"])
    spec, make = params.spec, pkgutil.resolve_name(MAKERS[params.spec["source"]])
    if spec["source"] == "organism":
        seed = derive_seed(params.seed, STREAMS[params.split], params.name)
        problems = make(spec["types"], spec["problems"], seed, params.split, params.name)
    else:
        problems = make(params.name, spec, spec["problems"])
    write_problems(task.output.problems, problems)
    return {"problems": len(problems)}


@job()
def build_coverage_subset(task: Task) -> Facts:
    """Write a coverage subset of a training set, drawn from it or read from the authors' own file of it."""
    params = SubsetParams.model_validate(task.params["job"])
    problems = read_problems(task.input.problems)
    if params.source is None:
        subset = coverage_subset(problems, params.coverage, params.seed)
    else:
        subset = read_hub_problems(params.dataset, params.source)
        if missing := missing_from(subset, problems):
            logger.warning("%d of %d problems are not in the whole set", missing, len(subset))
    write_problems(task.output.problems, subset)
    return {"problems": len(subset)}
