"""Read a study file with models.yaml and benchmarks.yaml of its folder, and refuse what is wrong before any DAG is built.

Unknown keys, wrong types, missing references and impossible grids raise StudyError, whose message names the file, the key and what is
allowed.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from selfdistill.study.checks import check_study
from selfdistill.study.choice import some_of
from selfdistill.study.data import Benchmarks
from selfdistill.study.feasibility import check_feasible
from selfdistill.study.file import StudyFile
from selfdistill.study.grid import parse_draws
from selfdistill.study.models import Models
from selfdistill.study.study import Study
from selfdistill.study.yaml import StudyError, read_yaml, suggestion, validated
from selfdistill.vocabulary.graders import ANSWER_GRADERS

DRAWS = ("replicates", "seeds")
"""Keys of a study file that a command line can replace."""
NO_STUDIES = (
    "models",
    "benchmarks",
    "earlier_verdicts",
    "elsewhere",
    "paper_settings",
    "recommendations",
    "reported",
)
"""Files of config/ that are not studies, beside `claims*.yaml`."""
CHOICES = (*DRAWS, "experiments", "models")
"""Keys of --config, and options of commands, that say what of a study is done."""
OWN_KEYS = ("study", *CHOICES, "grader", "retrain")
"""Keys of --config that are none of the study file."""


def load_study(
    path: str | Path,
    experiments: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    **draws: Sequence[int] | None,
) -> Study:
    """Read and check a study file, with other `replicates` or `seeds` than its own, if given; return what `some_of` keeps of it.

    Raises StudyError.
    """
    path = Path(path)
    content = read_yaml(path) | {key: list(numbers) for key, numbers in draws.items() if numbers is not None}
    file = validated(StudyFile, content, path)
    models_path, benchmarks_path = path.with_name("models.yaml"), path.with_name("benchmarks.yaml")
    catalogue = validated(Models, read_yaml(models_path), models_path)
    benchmarks = validated(Benchmarks, read_yaml(benchmarks_path), benchmarks_path)
    study = Study(path, file, catalogue, benchmarks)
    check_study(study, models_path, benchmarks_path)
    done = some_of(study, experiments, models)
    check_feasible(study, done)
    return done


def study_from_config(config: dict[str, Any], folder: str | Path = "config") -> Study:
    """The study that Snakemake's config asks for: `study` is a name (config/NAME.yaml) or a path, mini
    without it; `replicates` and `seeds` replace the file's; `experiments` and `models` name those that are done.

    A whole study file given by --configfile is the same as its name. `grader` is for the target `regrade`, `retrain` for
    `asked_to_retrain`. Other keys are refused: a study is its file.
    """
    asked = str(config.get("study", "mini"))
    path = Path(asked) if asked.endswith((".yaml", ".yml")) else Path(folder) / f"{asked}.yaml"
    if not path.is_file():
        files = {other.stem for other in Path(folder).glob("*.yaml")}
        names = sorted(name for name in files.difference(NO_STUDIES) if not name.startswith("claims"))
        raise StudyError(
            f"{path}: no such study file; allowed: {', '.join(names)}, or a path{suggestion(asked, names)}"
        )
    if others := {key: value for key, value in config.items() if key not in OWN_KEYS}:
        check_others(others, path)
    if (grader := config.get("grader", ANSWER_GRADERS[0])) not in ANSWER_GRADERS:
        raise StudyError(f"--config grader={grader}: must be one of {', '.join(ANSWER_GRADERS)}")
    draws = {key: parse_draws(key, config.get(key)) for key in DRAWS}
    names = {key: parse_names(config.get(key)) for key in ("experiments", "models")}
    return load_study(path, **names, **draws)


def parse_names(value: Any) -> list[str] | None:
    """Return the names that a command line gives (`on-policy,coverage` or a list); None for none."""
    if value in (None, ""):
        return None
    return value if isinstance(value, list) else [name.strip() for name in str(value).split(",")]


def asked_to_retrain(config: dict[str, Any]) -> bool:
    """Whether `--config retrain=yes` allows to train finished runs again whose models were deleted; raises StudyError for other values."""
    value = config.get("retrain", "no")
    words = {"yes": True, "no": False, "True": True, "False": False}  # YAML 1.1 reads yes as True
    if str(value) not in words:
        raise StudyError(f"--config retrain={value}: must be yes or no")
    return words[str(value)]


def check_draw_words(words: Sequence[str]) -> None:
    """Raise StudyError on a word `seeds=1_2` of a command line, which its parser makes 12 before anything here sees it."""
    for word in words:
        if found := re.match(rf"({'|'.join(DRAWS)})=.*_", word):
            raise StudyError(f"--config {word}: must be a list of numbers, such as {found[1]}=0,1,2")


def check_others(given: dict[str, Any], path: Path) -> None:
    """Raise StudyError on a key that is not as in the study file (by YAML 1.1 too, as Snakemake reads it)."""
    files = (read_yaml(path), yaml.safe_load(path.read_text(encoding="utf-8-sig")))
    for key, value in sorted(given.items()):
        if all(key not in file or file[key] != value for file in files):
            raise StudyError(
                f"--config {key}: not one of {', '.join(OWN_KEYS)}{suggestion(key, OWN_KEYS)}; change {key} in {path} or in a copy"
            )
