"""No result depends on the order in which a study file lists its seeds, models, runs, benchmarks, …"""

import json
import random

import pytest
import yaml
from spoiled import CONFIG

from selfdistill.claims.ledger import load_ledger
from selfdistill.claims.selection import as_params, plan_claims
from selfdistill.organism.chains import make_problem_set
from selfdistill.study.jobs import (
    benchmark_params,
    evaluation_params,
    section_3_params,
    subset_params,
    training_params,
    training_set_params,
)
from selfdistill.study.load import load_study
from selfdistill.study.yaml import read_yaml

ORDERED = ("solve_rate", "headline", "distinct", "acceptance")
"""Lists whose places have a meaning: [lowest, highest], and the panels (b) and (c)."""


def permuted(content, rng: random.Random, key: str = ""):
    """The same content with every list and mapping in another order."""
    if isinstance(content, dict):
        items = [(name, permuted(value, rng, name)) for name, value in content.items()]
        rng.shuffle(items)
        return dict(items)
    if isinstance(content, list) and key not in ORDERED:
        return rng.sample([permuted(value, rng) for value in content], len(content))
    return content


def plan(study) -> dict:
    """Every run with all that its results depend on, every data set, and what is estimated from them."""
    file = study.file
    jobs = {
        "runs": {str(run): training_params(study, run) for run in study.runs()},
        "samples": {
            f"{run}, step {step}": evaluation_params(study, run, step)
            for run in (*study.base_runs(), *study.runs())
            for step in study.steps_of(run)
        },
        "bases": {str(draw): study.base(draw[0]) for draw in study.base_draws()},
        "section 3": {str(draw): section_3_params(study, *draw) for draw in study.section_3_draws()},
        "training sets": {
            f"{name}/{draw}": training_set_params(study, name, draw)
            for name in file.datasets
            for draw in file.replicates
        },
        "benchmarks": {name: benchmark_params(study, name) for name in study.all_benchmarks()},
        "subsets": {
            f"{name}/{size}/{draw}": subset_params(study, name, size, draw)
            for name, spec in file.datasets.items()
            for size in spec.coverages
            if size != "full"
            for draw in file.replicates
        },
    }
    plain = {kind: {key: job.model_dump() for key, job in found.items()} for kind, found in jobs.items()}
    off_policy = file.off_policy.model_dump() if file.off_policy else {}
    return plain | {"off-policy": off_policy, "estimates": (study.ood(), study.shift_benchmark())}


def claimed(study) -> list[str]:
    """Every part of every claim with its arms, in an order of its own."""
    return sorted(map(json.dumps, as_params(plan_claims(load_ledger(CONFIG / "claims.yaml"), study))))


@pytest.mark.parametrize("name", ["mini", "test", "paper", "smollm"])
def test_no_plan_depends_on_the_order_of_a_list(folder, name):
    path = folder / f"{name}.yaml"
    content = read_yaml(path) | {"replicates": [0, 1], "seeds": [0, 1, 2]}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    expected = plan(load_study(path))
    claims = claimed(load_study(path))
    for seed in range(3):
        path.write_text(yaml.safe_dump(permuted(content, random.Random(seed)), sort_keys=False))
        study = load_study(path)
        assert plan(study) == expected
        assert claimed(study) == claims


def test_problems_do_not_depend_on_the_order_of_their_types():
    one, other = (
        make_problem_set(types, 40, 7, "train", "chain")
        for types in ({"d2": 0.3, "d3": 0.7}, {"d3": 0.7, "d2": 0.3})
    )
    assert one == other
