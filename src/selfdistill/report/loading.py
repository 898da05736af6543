"""Loads what figures, tables and the report are drawn from and claims are judged from: the frames that a rule names among its inputs.

The judge of claims and regrading use it too. A frame that a rule does not name stays empty.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from selfdistill.claims.judge import ROLLOUT_COLUMNS, Frames, rollouts_as_samples
from selfdistill.claims.ledger import ROLLOUTS
from selfdistill.claims.selection import PlannedPart
from selfdistill.records.files import read_frame, read_json, read_table
from selfdistill.records.paths import run_at
from selfdistill.records.schemas import (
    problems_schema,
    richness_schema,
    rollouts_schema,
    samples_schema,
    training_schema,
)
from selfdistill.report.numbers import intervention_numbers, problems_summary
from selfdistill.report.samples import CLAIM_COLUMNS, joined
from selfdistill.report.study_data import StudyData
from selfdistill.report.tables.reported import load_reported
from selfdistill.report.word_shifts import with_columns, word_shifts
from selfdistill.statistics import richness_estimates, with_common_end
from selfdistill.study.methods import TRAINING_RULES
from selfdistill.vocabulary.interventions import NONE
from selfdistill.vocabulary.organism import REFUSED
from selfdistill.vocabulary.runs import RUN_FIELDS


def load_data(
    inputs: Mapping[str, Any], names: Mapping[str, Any], runs: Sequence[Mapping[str, str]] = ()
) -> StudyData:
    """Return the study's frames, those of `runs` only if some are given.

    inputs: names of StudyData's frames -> path (reported) or paths (estimates, differences, shift, draws, training, richness; train_sets and
    benchmark_sets make `problems`; interventions go with untouched, the samples of the same runs without one). names:
    study.shown.display_names. runs: study.shown.run_keys.
    """
    frames = {
        name: joined(map(read_frame, as_list(inputs[name])))
        for name in ("estimates", "differences", "shift", "draws")
        if name in inputs
    }
    if "training" in inputs:
        frames["training"] = joined(
            read_table(path, training_schema()) for path in as_list(inputs["training"])
        )
    if "richness" in inputs:
        rows = joined(read_table(path, richness_schema()) for path in as_list(inputs["richness"]))
        frames["richness"] = richness_estimates(rows)
    if "interventions" in inputs:
        rows = intervention_samples(inputs["interventions"], inputs["untouched"])
        ood = [name for name, entry in names["benchmarks"].items() if entry["ood"]]
        frames["interventions"] = intervention_numbers(rows, ood)
    if "train_sets" in inputs:
        frames["problems"] = problems_summary(
            problem_tables(inputs["train_sets"]), problem_tables(inputs["benchmark_sets"])
        )
    if "reported" in inputs:
        frames["reported"] = load_reported(Path(inputs["reported"]))
    data = StudyData(**frames, **names)
    return data.of_runs(runs) if runs else data


def named_files(files: Any) -> dict[str, Any]:
    """Return a job's named input files as a mapping."""
    return dict(files.items()) if hasattr(files, "items") else dict(vars(files))


def as_list(paths: str | Iterable[str]) -> list[str]:
    """Return one path or several as a list."""
    return [paths] if isinstance(paths, str) else list(paths)


def intervention_samples(intervened: Sequence[str], untouched: Sequence[str]) -> pd.DataFrame:
    """Return samples under interventions, which their files are named after, and without one: no responses, a column `intervention`."""
    named = [(path, Path(path).stem) for path in as_list(intervened)] + [
        (path, NONE) for path in as_list(untouched)
    ]
    return joined(
        read_table(path, samples_schema(), CLAIM_COLUMNS).assign(intervention=name) for path, name in named
    )


def problem_tables(paths: str | Iterable[str]) -> dict[str, pd.DataFrame]:
    """Return problem sets by their name, which is the column `dataset`."""
    tables = [read_table(path, problems_schema()) for path in as_list(paths)]
    return {str(table["dataset"].iloc[0]): table for table in tables}


def claim_frames(
    inputs: Any, parts: Sequence[PlannedPart], correct: Mapping[str, pd.Series] | None = None
) -> Frames:
    """Return the samples that a plan of claims is judged from.

    inputs: samples, interventions, section_3 and rollouts (paths), as `claims.selection.needed_files` names them. Rollouts carry
    no run fields; they come from their path. correct: every file of samples -> the column `correct` that takes the place of the stored one.
    """

    def rollouts(path: str) -> pd.DataFrame:
        table = read_table(path, rollouts_schema(), ROLLOUT_COLUMNS)
        run = run_at(Path(path).parent)
        asked = {arm.benchmarks[0] for part in parts for arm in part.arms if arm.run == run.key()}
        return joined(rollouts_as_samples(table, run.fields(), kind) for kind in ROLLOUTS if kind in asked)

    def samples(path: str) -> pd.DataFrame:
        table = read_table(path, samples_schema(), CLAIM_COLUMNS)
        return table.assign(correct=correct[path]) if correct else table

    shifts = word_shifts(
        parts, as_list(inputs.samples)
    )  # first: the responses have left the memory when the samples come
    kinds = {"samples": samples, "section_3": samples, "rollouts": rollouts}
    frames = {name: joined(map(read, as_list(getattr(inputs, name)))) for name, read in kinds.items()}
    frames["samples"] = with_common_end(with_columns(frames["samples"], shifts))
    under: dict[str, list[pd.DataFrame]] = {}
    for path in as_list(inputs.interventions):
        under.setdefault(Path(path).stem, []).append(samples(path))
    return Frames(**frames, interventions={name: joined(rows) for name, rows in under.items()})


def named_texts(paths: str | Iterable[str]) -> dict[str, str]:
    """Return text files by their name without its suffix: captions of figures, tables as HTML."""
    return {Path(path).stem: Path(path).read_text(encoding="utf-8").strip() for path in as_list(paths)}


def read_manifests(paths: str | Iterable[str]) -> list[dict[str, Any]]:
    """Return the manifests of several jobs."""
    return [read_json(path) for path in as_list(paths)]


def job_costs(manifests: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per job: rule, seconds (wall), max_rss_mb, tokens (generated or trained on; NaN for none)."""
    rows = [(m["rule"], m["wall_seconds"], m["peak_memory_mb"], m["tokens"]) for m in manifests]
    costs = pd.DataFrame(rows, columns=["rule", "seconds", "max_rss_mb", "tokens"])
    return costs.astype({"tokens": "float64"})


def training_costs(manifests: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per training run: its run fields, seconds (wall) and tokens."""
    rows = [
        {**m["config"]["job"]["run"], "seconds": m["wall_seconds"], "tokens": m["tokens"]}
        for m in manifests
        if m["rule"] in TRAINING_RULES
    ]
    return pd.DataFrame(rows, columns=[*RUN_FIELDS, "seconds", "tokens"])


def refused_draws(manifests: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return folder of a base -> how many draws missed a bound of its acceptance before it, for bases with such draws."""
    return {m["outputs"][0]: count for m in manifests if (count := m.get("facts", {}).get(REFUSED))}


def provenance(manifests: Iterable[Mapping[str, Any]], command: str) -> dict[str, str]:
    """Return on what the study ran: commits, devices, versions (each distinct value once), and the command that repeats it."""
    manifests = list(manifests)
    refused = ", ".join(f"{count} of {folder}" for folder, count in refused_draws(manifests).items())

    def distinct(values: Iterable[Any]) -> str:
        return ", ".join(dict.fromkeys(str(value) for value in values))

    return {
        "command": command,
        "git commit": distinct(m["git_commit"] for m in manifests),
        "device": distinct(m["device"] for m in manifests),
        "python": distinct(m["python"] for m in manifests),
        "packages": distinct(
            f"{name} {version}" for m in manifests for name, version in m["packages"].items()
        ),
        "refused draws of bases": refused or "none",
        "tokens generated in training and evaluation": f"{sum(m['tokens'] or 0 for m in manifests):,}",
    }


def read_deviations(path: str | Path) -> list[str]:
    """Return one sentence per row of the tables in docs/deviations.md (what | the paper | here | why)."""
    rows = re.findall(r"^\|(.+)\|$", Path(path).read_text(encoding="utf-8"), re.MULTILINE)
    cells = [[cell.strip().replace("`", "") for cell in row.split("|")] for row in rows]
    return [
        f"{what}. The paper: {paper}. Here: {here}. Why: {why}."
        for what, paper, here, why in (row for row in cells if len(row) == 4)
        if what != "what" and not set(what) <= set("-: ")
    ]
