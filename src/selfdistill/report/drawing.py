"""Jobs that draw what `study.displays` registers: they find the function of a figure or table and call it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import pandas as pd

from selfdistill.records.files import write_text
from selfdistill.records.task import Facts, Task, job
from selfdistill.report.diagnosis import DiagnosedData
from selfdistill.report.loading import load_data, named_files
from selfdistill.report.screening import screening_samples, with_screening
from selfdistill.report.study_data import StudyData
from selfdistill.report.style import save_figure
from selfdistill.report.tables.form import Table
from selfdistill.study.diagnosis import FRAME
from selfdistill.study.displays import heading
from selfdistill.study.shown import DisplayJob

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def drawing_function(name: str) -> Callable[..., Any]:
    """Return the function `module:function`; raise LookupError, naming it, if there is none."""
    try:
        return resolve_name(name)
    except (ImportError, AttributeError) as error:
        raise LookupError(f"no drawing function {name!r} (study/displays.py): {error}") from error


def draw_figure(draw: str, data: StudyData, options: Mapping[str, Any]) -> tuple[Figure, str]:
    """Return a figure and its caption."""
    return drawing_function(draw)(data, **options)


def make_table(draw: str, data: StudyData, options: Mapping[str, Any], *, name: str, title: str) -> Table:
    """Return a table under its heading."""
    rows, note = drawing_function(draw)(data, **options)
    return Table(name, heading(name, title), note, rows)


def drawing_modules(params: Mapping[str, Any]) -> Sequence[str]:
    """Return what a figure imports late."""
    return ("matplotlib.backends.backend_agg", "seaborn", params["job"]["draw"].partition(":")[0])


def shown_data(task: Task, asked: DisplayJob) -> StudyData:
    """Return what a job's inputs hold of the runs that it shows."""
    files = named_files(task.input)
    data = load_data(files, asked.names, asked.runs)
    if "screening" in files:
        return with_screening(data, screening_samples(files["screening"]))
    if FRAME in files:
        return DiagnosedData(**vars(data), diagnosis=pd.read_csv(files[FRAME])).of_runs(asked.runs)
    return data


@job(late=drawing_modules)
def plot_figure(task: Task) -> Facts:
    """Draw a figure as PNG and SVG, with its caption."""
    asked, output = DisplayJob.model_validate(task.params["job"]), task.output
    figure, caption = draw_figure(asked.draw, shown_data(task, asked), asked.options)
    save_figure(figure, Path(output.png), Path(output.svg))
    write_text(output.caption, caption + "\n")
    return None


@job()
def write_table(task: Task) -> Facts:
    """Write a table beside the paper's own numbers: CSV, Markdown and HTML."""
    asked, output = DisplayJob.model_validate(task.params["job"]), task.output
    table = make_table(asked.draw, shown_data(task, asked), asked.options, name=asked.name, title=asked.title)
    table.write(Path(output.csv), Path(output.md), Path(output.html))
    return None
