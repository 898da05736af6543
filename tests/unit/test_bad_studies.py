"""Generated bad study files: each is refused with file and key, or loads with plausible values; never another error."""

import copy
import json
import math
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from spoiled import CONFIG

from selfdistill.study.jobs import evaluation_params, training_params
from selfdistill.study.load import load_study
from selfdistill.study.shown import display_names
from selfdistill.study.yaml import StudyError, read_yaml

STUDY = read_yaml(CONFIG / "test.yaml")
CATALOGUES = ("models.yaml", "benchmarks.yaml")
NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 7, 81, 82, 160, 10**6, 2**31, 10**30, -0.5, 0.0, 0.3, 1.5, 1e30])
VALUES = st.one_of(
    NUMBERS,
    st.sampled_from(
        [None, True, False, "", "x", "full", "solution", "on", "1e-4", "ema-0.05", "ema-2", "r1-test"]
    ),
    st.text(max_size=8),
    st.lists(st.one_of(NUMBERS, st.text(max_size=3)), max_size=3),
    st.dictionaries(st.text(max_size=3), NUMBERS, max_size=2),
)


def places(content, path=()):
    """Every key path of a nested structure."""
    children = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in children:
        yield (*path, key)
        yield from places(value, (*path, key))


MUTATIONS = st.tuples(
    st.sampled_from(list(places(STUDY))), st.sampled_from(["set", "delete", "rename", "repeat"]), VALUES
)


def mutate(content, mutation) -> None:
    """Make one change; a place that an earlier change took away is left."""
    (*parents, last), kind, value = mutation
    place = content
    for part in parents:
        try:
            place = place[part]
        except (KeyError, IndexError, TypeError):
            return
    try:
        old = place[last]
        if kind == "set":
            place[last] = value
        elif kind == "delete":
            del place[last]
        elif kind == "rename" and isinstance(place, dict):
            place[f"{last}s"] = place.pop(last)
        elif kind == "repeat" and isinstance(place, list):
            place.append(copy.deepcopy(old))
    except (KeyError, IndexError, TypeError):
        return


@pytest.fixture(scope="module")
def folder():
    """A config folder whose test.yaml is overwritten again and again."""
    with tempfile.TemporaryDirectory() as root:
        yield shutil.copytree(CONFIG, Path(root) / "config")


def refused_or_plausible(folder: Path, content) -> None:
    """Load a study file; a refusal names file and key, what loads has numbers that a run can have."""
    path = folder / "test.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")
    try:
        study = load_study(path)
    except StudyError as error:
        for line in str(error).splitlines():
            file, _, rest = line.partition(": ")
            assert Path(file).parent == folder, line
            assert rest.partition(": ")[2], line
        return
    for run in study.runs():
        found = study.settings_for(run)
        assert 0 < found.learning_rate < 1
        assert found.micro_batch is None or found.micro_batch >= 1
        assert all(math.isfinite(value) for value in found.model_dump().values() if isinstance(value, float))
        training_params(study, run)
        for step in study.steps_of(run):
            evaluation_params(study, run, step)
    for name, spec in study.file.datasets.items():
        sizes = [size for size in spec.coverages if size != "full"]
        assert study.dataset_spec(name)["problems"] >= max(sizes, default=1)
    assert all(0 <= run.draw_seed < 2**31 for run in (*study.runs(), *study.base_runs()))
    for name in study.all_benchmarks():
        study.benchmark_spec(name)
    display_names(study)


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(mutations=st.lists(MUTATIONS, min_size=1, max_size=3))
def test_a_bad_study_is_refused_with_file_and_key_or_is_plausible(folder, mutations):
    content = copy.deepcopy(STUDY)
    for mutation in mutations:
        mutate(content, mutation)
    refused_or_plausible(folder, content)


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(text=st.text(max_size=40))
@example(text="a: 1\na: 2")
@example(text="{")
def test_any_text_is_refused_with_the_file(folder, text):
    path = folder / "test.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match="test.yaml: "):
        load_study(path)
