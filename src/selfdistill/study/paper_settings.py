"""The paper's settings (config/paper_settings.yaml) against what a study really uses: `python -m
selfdistill.study.paper_settings` writes what differs into docs/deviations.md.

Paper: sections 3 to 6, settings in paper.md 4 and 5. A row is *silent* if our value is not the paper's and the
row does not say so, *stale* if it declares a deviation that is none; the tests refuse both. TRL's side is
compared by tests/unit/test_paper_settings.py, which holds the resolved arguments.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from selfdistill.study.fields import Section
from selfdistill.study.jobs import section_3_params
from selfdistill.study.load import load_study
from selfdistill.study.methods import RolloutSettings
from selfdistill.study.study import Study
from selfdistill.study.yaml import read_yaml, validated
from selfdistill.text import pipe_table
from selfdistill.vocabulary.marks import MARKS

SETTINGS = Path("config/paper_settings.yaml")
STUDY = Path("config/paper.yaml")
DEVIATIONS = Path("docs/deviations.md")
BEGIN = "<!-- written by `python -m selfdistill.study.paper_settings` from config/paper_settings.yaml -->"
END = "<!-- end of the written part -->"

Value = bool | int | float | str | list[int | str] | dict[str, int]


class Deviation(Section):
    """What this study does instead, and why."""

    ours: bool | int | float | str = Field(description="our value")
    why: str = Field(min_length=1, description="the reason")


class PaperSetting(Section):
    """One setting of the paper."""

    arms: list[str] = Field(min_length=1, description="whose setting it is: keys of `facts`")
    name: str = Field(min_length=1, description="the setting in words")
    value: Value = Field(description="the paper's value")
    ours: str | None = Field(description="key of our resolved settings (null: none)")
    mark: Literal[(*MARKS,)] = Field(description="how well it is known")
    place: str = Field(min_length=1, description="section of paper.md, and the name there")
    trl: dict[str, bool | int | float | str] = Field(
        default={}, description="attribute of TRL's arguments: value in TRL's form"
    )
    deviation: Deviation | None = Field(default=None, description="where this study differs")


class PaperSettings(Section):
    """config/paper_settings.yaml."""

    settings: list[PaperSetting] = Field(min_length=1, description="the rows")


def load_settings(path: Path = SETTINGS) -> list[PaperSetting]:
    """Return the rows of the file; raise StudyError with the key of what is wrong."""
    return validated(PaperSettings, read_yaml(path), path).settings


def used_methods(study: Study) -> list[tuple[str, str, str]]:
    """Return (arm, method, variant) of everything that the grid trains: `grpo`, `grpo/coverage`, …"""
    used = dict.fromkeys((run.method, run.variant) for run in study.runs())
    return [(m if v == "default" else f"{m}/{v}", m, v) for m, v in used]


def facts(study: Study) -> dict[str, dict[str, Any]]:
    """Return what a study resolves to, by arm: settings of each method and variant, sampling, data, resources."""
    found: dict[str, dict[str, Any]] = {}
    for arm, method, variant in used_methods(study):
        settings = study.resolve(method, variant)
        found[arm] = settings.model_dump()
        if isinstance(settings, RolloutSettings):
            found[arm]["mini_batch"] = settings.prompts / settings.updates_per_step
    section_3 = section_3_params(study, *study.section_3_draws()[0]).model_dump()
    found["section-3"] = section_3["settings"] | section_3["sampling"]
    found["off-policy"] = study.file.off_policy.model_dump()
    sizes = {name: study.benchmark_spec(name)["expect"]["rows"] for name in study.file.benchmarks.names}
    benchmarks = study.file.benchmarks
    found["evaluation"] = benchmarks.model_dump() | {"sizes": sizes}
    found |= {f"evaluation/{model}": study.sampling_for(model).model_dump() for model in study.models()}
    found |= {name: spec.model_dump() for name, spec in study.file.datasets.items()}
    found["rl"] = study.resources_for("rl").model_dump()
    narrow = study.file.domains.narrow
    teachers = {run.teacher for run in study.runs(methods=("sdpo",)) if run.dataset == narrow}
    found["chemistry-runs"] = {"teachers": sorted(teachers)}
    found["sdpo-ema"] = found["sdpo"]
    return found


def same(ours: Any, paper: Any) -> bool:
    """Return whether two values are equal; true is not 1."""
    return ours == paper and isinstance(ours, bool) == isinstance(paper, bool)


def problems(study: Study, rows: list[PaperSetting]) -> list[str]:
    """Return what is wrong, one line each: silent differences, stale deviations, unknown arms and keys."""
    known = facts(study)
    return [line for row in rows for arm in row.arms for line in row_problems(row, arm, known)]


def row_problems(row: PaperSetting, arm: str, known: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield what is wrong with one row for one arm."""
    where = f"{arm}: {row.name}"
    if arm not in known:
        yield f"{where}: unknown arm; allowed: {', '.join(known)}"
    elif row.ours is None:
        if not row.trl and row.deviation is None:
            yield f"{where}: compared with nothing (neither ours, trl nor deviation)"
    elif row.ours not in known[arm]:
        yield f"{where}: no such key {row.ours}"
    elif row.deviation is None and not same(known[arm][row.ours], row.value):
        yield f"{where}: silent difference, the paper has {row.value}, the study {known[arm][row.ours]}"
    elif row.deviation is not None and not same(known[arm][row.ours], row.deviation.ours):
        yield f"{where}: deviation says {row.deviation.ours}, the study has {known[arm][row.ours]}"
    elif row.deviation is not None and same(row.deviation.ours, row.value):
        yield f"{where}: declared as a deviation and equal to the paper"


def deviation_table(rows: list[PaperSetting]) -> str:
    """Return the rows that differ, as a Markdown table."""
    cells = []
    for row in rows:
        if row.deviation is not None:
            paper = f"{row.value} [{row.mark}] ({row.place})"
            cells.append((row.name, ", ".join(row.arms), paper, str(row.deviation.ours), row.deviation.why))
    return pipe_table(("setting", "of", "the paper", "here", "why"), cells)


def with_table(page: str, rows: list[PaperSetting]) -> str:
    """Return the page of deviations with its written part renewed."""
    head, _, rest = page.partition(BEGIN)
    _, found, tail = rest.partition(END)
    if not found:
        raise ValueError(f"{DEVIATIONS} has no part between {BEGIN!r} and {END!r}")
    return f"{head}{BEGIN}\n\n{deviation_table(rows)}\n\n{END}{tail}"


def main() -> None:
    """Renew docs/deviations.md; end with an error where the study differs silently."""
    rows = load_settings()
    if wrong := problems(load_study(STUDY), rows):
        raise SystemExit("\n".join(wrong))
    DEVIATIONS.write_text(with_table(DEVIATIONS.read_text(encoding="utf-8"), rows), encoding="utf-8")


if __name__ == "__main__":
    main()
