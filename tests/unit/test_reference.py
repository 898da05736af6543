"""config/README.md and config/schema.json are those of the models, and the worked examples work."""

import json
import re

import jsonschema
import pytest
from spoiled import CONFIG

from selfdistill.study.load import load_study
from selfdistill.study.reference import readme, schema
from selfdistill.study.yaml import parse_yaml, read_yaml

STUDIES = sorted(path for path in CONFIG.glob("*.yaml") if "study" in read_yaml(path))
WRITE = "run `python -m selfdistill.study.reference`"


def test_readme_describes_every_key():
    assert (CONFIG / "README.md").read_text() == readme(), WRITE


def test_schema_is_that_of_the_models():
    assert (CONFIG / "schema.json").read_text() == schema(), WRITE


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_study_files_name_the_schema_and_keep_to_it(path):
    assert path.read_text().splitlines()[0] == "# yaml-language-server: $schema=schema.json"
    jsonschema.validate(json.loads(json.dumps(read_yaml(path))), json.loads(schema()))


@pytest.mark.parametrize(
    ("place", "key"),
    [((), "seedss"), (("training", "sdpo"), "alfa"), (("variants", "hybrid", "sdpo"), "alfa")],
)
def test_the_schema_knows_wrong_keys(place, key):
    content = json.loads(json.dumps(read_yaml(CONFIG / "mini.yaml")))
    section = content
    for part in place:
        section = section[part]
    section[key] = 1
    with pytest.raises(jsonschema.ValidationError, match=key):
        jsonschema.validate(content, json.loads(schema()))


def merged(content, added):
    """Content with an example put in: mappings are joined, entries of `runs` added, other values replaced."""
    if isinstance(content, dict) and isinstance(added, dict):
        return content | {key: merged(content.get(key), value) for key, value in added.items()}
    if isinstance(content, list) and isinstance(added[0], dict):
        return content + added
    return added


def test_the_worked_examples_work(folder):
    examples = re.findall(r"```yaml\n# (\S+)\n(.*?)```", readme(), re.DOTALL)
    assert [name for name, _ in examples].count("mini.yaml") == 4
    before = load_study(CONFIG / "mini.yaml")
    for name, text in examples:
        path = folder / name
        path.write_text(json.dumps(merged(read_yaml(path), parse_yaml(text))))
    study = load_study(folder / "mini.yaml")
    assert {run.replicate for run in study.runs()} == {0, 1, 2}
    assert set(study.models()) - set(before.models()) == {"qwen3-4b-think"}
    assert study.resolve("sdpo", "slow").learning_rate == 1e-5
    assert set(study.all_benchmarks()) - set(before.all_benchmarks()) == {"harder"}
