"""Config folders that a test may spoil."""

import json
from dataclasses import replace
from pathlib import Path

import yaml

from selfdistill.study.load import load_study
from selfdistill.study.study import Study

CONFIG = Path(__file__).parents[2] / "config"


def spoil(folder, changes, file="mini.yaml", study="mini.yaml"):
    """Load a study with `changes` (dotted key -> value; DELETE removes) made to one of the config files."""
    path = folder / file
    content = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = content
        for part in parents:
            place = place[int(part) if isinstance(place, list) else part]
        if value == "DELETE":
            del place[last]
        elif isinstance(place, list):
            place.insert(int(last), value)
        else:
            place[last] = value
    path.write_text(json.dumps(content, indent=1))  # JSON is YAML, and keeps a text that looks like a number
    return load_study(folder / study)


def on_gpus(study: Study, count: int) -> Study:
    """A study with its RL trainings on this many GPUs each."""
    asked = study.file.resources | {"rl": study.resources_for("rl").model_copy(update={"gpus": count})}
    return replace(study, file=study.file.model_copy(update={"resources": asked}))
