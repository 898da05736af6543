"""Loads what figures, tables and the report are drawn from: the frames that a rule names among its inputs.

Used by the scripts of rules/report.smk. A frame that a rule does not name stays empty (`figures.NEEDS`).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas

from selfdistill.artifacts import problems_schema, read_table, training_schema
from selfdistill.figures import StudyData, roles_by_thinking
from selfdistill.tables import load_reported, problems_summary


def load_data(inputs: Mapping[str, Any], display: Mapping[str, Any]) -> StudyData:
    """The study's frames.

    inputs: names of StudyData's frames -> path (estimates, differences, shift, reported) or paths (training;
    train_sets and benchmark_sets make `problems`). display: study.Study.display().
    """
    frames = {
        name: pandas.read_parquet(inputs[name])
        for name in ("estimates", "differences", "shift")
        if name in inputs
    }
    if "training" in inputs:
        frames["training"] = read_tables(inputs["training"])
    if "train_sets" in inputs:
        frames["problems"] = problems_summary(
            problem_tables(inputs["train_sets"]), problem_tables(inputs["benchmark_sets"])
        )
    if "reported" in inputs:
        frames["reported"] = load_reported(Path(inputs["reported"]))
    names = {
        name: display[name]
        for name in ("title", "labels", "benchmarks", "headline", "broad", "narrow", "organism")
    }
    return StudyData(**frames, **names, roles=roles_by_thinking(display["thinking"]))


def as_list(paths: str | Iterable[str]) -> list[str]:
    """One path or several, as a list."""
    return [paths] if isinstance(paths, str) else list(paths)


def read_tables(paths: str | Iterable[str]) -> pandas.DataFrame:
    """The training records of several runs in one frame; empty for none."""
    tables = [read_table(path, training_schema()) for path in as_list(paths)]
    return pandas.concat(tables, ignore_index=True) if tables else pandas.DataFrame()


def problem_tables(paths: str | Iterable[str]) -> dict[str, pandas.DataFrame]:
    """Problem sets by their name, which is the column `dataset`."""
    tables = [read_table(path, problems_schema()) for path in as_list(paths)]
    return {str(table["dataset"].iloc[0]): table for table in tables}
