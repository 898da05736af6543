"""Opens the results of a study for reading.

    results = open_study("..", "mini")
    results.runs                                        # every run, declared or found, and what it has
    results.samples(method="sdpo", benchmark="longer")  # reads only the files of the runs that match
    results.estimates, results.differences              # all numbers of the study, with their intervals

Frames are read when they are asked for. What is missing raises ResultsError, which names the file, what is
there instead, and the command that makes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from selfdistill.explore.filters import ResultsError, as_runs, as_values, filter_rows, split_filters
from selfdistill.explore.plots import run_label
from selfdistill.records.files import read_frame, read_json, read_table
from selfdistill.records.paths import Paths, run_at
from selfdistill.records.schemas import problems_schema, rollouts_schema, samples_schema, training_schema
from selfdistill.report.loading import load_data
from selfdistill.report.numbers import joined
from selfdistill.report.study_data import StudyData, run_order
from selfdistill.study.load import load_study
from selfdistill.study.shown import display_names
from selfdistill.study.study import Study
from selfdistill.vocabulary.runs import DRAW, RUN_FIELDS, RUN_KEY, Run

CONFIG = Path(__file__).resolve().parents[3] / "config"
"""The repository's study files, for results that lie in a folder without any."""


@dataclass(frozen=True)
class StudyResults:
    """The results of one study; `root` is the folder that holds results/."""

    root: Path
    study: Study

    @property
    def paths(self) -> Paths:
        """Return the study's paths, relative to `root`."""
        return Paths(self.study.name)

    @property
    def command(self) -> str:
        """Return the command that makes the results of this study."""
        return make_command(self.study.name)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """Return every run, declared or found, in drawing order.

        Columns: the run fields, label, experiments (comma-separated; `undeclared` if only found),
        has_training, has_samples.
        """
        found = dict.fromkeys(self._found_runs(), "undeclared")
        declared = {run: ", ".join(self.study.experiments_of(run)) for run in self._declared_runs()}
        rows = [
            {
                **run.fields(),
                "label": run_label(run.fields(), self.study.file.domains.broad),
                "experiments": experiments,
                "has_training": (self.root / self.paths.training(run)).exists(),
                "has_samples": bool(self._sample_files(run)),
            }
            for run, experiments in (found | declared).items()
        ]
        rows.sort(
            key=lambda row: (self.model_rank(row["model"]), *run_order(row), *(row[name] for name in DRAW))
        )
        return pd.DataFrame(rows)

    def _declared_runs(self) -> Iterator[Run]:
        yield from self.study.base_runs()
        yield from self.study.runs()

    def _found_runs(self) -> Iterator[Run]:
        """Return the runs that have samples or a training record on disk."""
        folder = self.root / self.paths.results / "runs"
        for path in sorted(folder.glob("*/" * len(RUN_FIELDS))):
            run = run_at(path)
            if run and (any(path.glob("*.parquet")) or any(path.glob("samples/*.parquet"))):
                yield run

    def _sample_files(self, run: Run) -> list[Path]:
        """Return the files of a run's samples that are there, by step."""
        pattern = self.root / self.paths.samples(run, "*")
        return sorted(pattern.parent.glob(pattern.name), key=lambda path: (len(path.stem), path.stem))

    def model_rank(self, model: str) -> tuple[int, str]:
        """Return sort key of a model: the study's order, unknown ones last by name."""
        known = self.study.models()
        return (known.index(model) if model in known else len(known), model)

    @property
    def models(self) -> list[str]:
        """Return models that have samples, in the study's order."""
        return list(self.runs[self.runs["has_samples"]]["model"].unique())

    @property
    def benchmarks(self) -> list[str]:
        """Return the study's benchmarks, in display order."""
        return list(self.study.file.benchmarks.names)

    def benchmark_label(self, benchmark: str) -> str:
        """Return the name that a benchmark is shown under."""
        return str(self.study.benchmark_labels().get(benchmark, {}).get("label", benchmark))

    def select(self, **filters: Any) -> pd.DataFrame:
        """Return the rows of `runs` with these run fields; `experiment` is one of the experiments that a run serves.

        A value may be a list, which means any of them. Raises ResultsError, with the values that there are,
        if nothing is left.
        """
        runs = self.runs
        wanted = {name: value for name, value in filters.items() if name != "experiment"}
        if "experiment" in filters:
            names = as_values(filters["experiment"])
            serves = runs["experiments"].map(lambda text: bool(set(text.split(", ")) & set(names)))
            if not serves.any():
                known = sorted({name for text in runs["experiments"] if text for name in text.split(", ")})
                raise ResultsError(f"no run of experiment {names}; there are: {', '.join(known)}")
            runs = runs[serves]
        return filter_rows(runs, "run", wanted, allowed=RUN_FIELDS)

    def samples(self, columns: Sequence[str] | None = None, **filters: Any) -> pd.DataFrame:
        """Return samples of the runs that match, in one frame (records.schemas.samples_schema).

        filters: run fields or `experiment` choose the files, any other column of the samples (`benchmark`,
        `step`, `correct`) chooses rows. columns: only these, and those filtered by.
        """
        of_runs, of_rows = split_filters(filters)
        needed = list(dict.fromkeys([*columns, *of_rows])) if columns else None
        runs = self._with_file(self.select(**of_runs), "has_samples", "samples")
        frames = [
            read_table(path, samples_schema(), needed)
            for run in as_runs(runs)
            for path in self._sample_files(run)
        ]
        return filter_rows(pd.concat(frames, ignore_index=True), "sample", of_rows)

    def training(self, **filters: Any) -> pd.DataFrame:
        """Return training records of the runs that match, one row per step (records.schemas.training_schema)."""
        runs = self._with_file(self.select(**filters), "has_training", "training record")
        tables = [
            read_table(self.root / self.paths.training(run), training_schema()) for run in as_runs(runs)
        ]
        return pd.concat(tables, ignore_index=True)

    def rollouts(self, **filters: Any) -> pd.DataFrame:
        """Return responses that the matching runs generated in training (records.schemas.rollouts_schema and run fields)."""
        frames = []
        for run in as_runs(self._with_file(self.select(**filters), "has_training", "training record")):
            path = self.root / self.paths.rollouts(run)
            if path.exists():  # SFT has a training record and generates nothing
                frames.append(read_table(path, rollouts_schema()).assign(**run.fields()))
        if not frames:
            raise ResultsError(f"no rollouts for {filters}: only GRPO and SDPO runs generate in training")
        return pd.concat(frames, ignore_index=True)

    def _with_file(self, runs: pd.DataFrame, flag: str, what: str) -> pd.DataFrame:
        """Return the runs whose file is there; ResultsError if none has it."""
        there = runs[runs[flag]]
        if there.empty:
            others = self.runs[self.runs[flag]]
            names = "; ".join(str(run) for run in as_runs(others.head(8))) or "none"
            missing = "; ".join(str(run) for run in as_runs(runs.head(8)))
            raise ResultsError(f"no {what} yet of {missing}. Runs that have one: {names}. {self.hint}")
        return there

    @property
    def hint(self) -> str:
        """Return what to do about missing results."""
        return f"`{self.command}` in the repository makes what is missing."

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """Return every number of the study with its interval (statistics.estimates, report.numbers)."""
        return self._numbers("estimates")

    @cached_property
    def differences(self) -> pd.DataFrame:
        """Return every run's difference to its base at its last step, paired by problem (statistics.contrasts)."""
        return self._numbers("differences")

    @cached_property
    def shift(self) -> pd.DataFrame:
        """Return change of word frequencies against base (epistemic.frequency_shift)."""
        return self._numbers("shift")

    def _numbers(self, name: str) -> pd.DataFrame:
        files = self._numbers_files(name)
        if not files:
            self._existing(self.paths.numbers(name, self.study.models()[0]))
        return joined(map(read_frame, files))

    def _numbers_files(self, name: str) -> list[Path]:
        paths = (self.root / self.paths.numbers(name, model) for model in self.study.models())
        return [path for path in paths if path.exists()]

    def final(self, frame: pd.DataFrame, **filters: Any) -> pd.DataFrame:
        """Return rows of `estimates` or `differences` of each run at its last step, in drawing order, with its label."""
        rows = filter_rows(frame, "number", filters)
        rows = rows[rows["step"] == rows.groupby(list(RUN_KEY))["step"].transform("max")]
        ranks = [(self.model_rank(row["model"]), *run_order(row)) for row in rows.to_dict("records")]
        rows = rows.iloc[sorted(range(len(rows)), key=ranks.__getitem__)].reset_index(drop=True)
        broad = self.study.file.domains.broad
        return rows.assign(label=[run_label(row, broad) for row in rows.to_dict("records")])

    @cached_property
    def claims(self) -> pd.DataFrame:
        """Return the claims with their computed verdicts, one row per claim; empty if the study has none yet."""
        path = self.root / self.paths.claims("json")
        if not path.exists():
            return pd.DataFrame()
        return pd.DataFrame(read_json(path)["claims"])

    @cached_property
    def data(self) -> StudyData:
        """Return what the drawing functions draw from (report.figures), with the frames that are there."""
        inputs: dict[str, Any] = {
            name: files
            for name in ("estimates", "differences", "shift")
            if (files := self._numbers_files(name))
        }
        inputs["training"] = [
            self.root / self.paths.training(run) for run in as_runs(self.runs[self.runs["has_training"]])
        ]
        return load_data(inputs, display_names(self.study))

    def problems(self, benchmark: str) -> pd.DataFrame:
        """Return the problems of a benchmark (records.schemas.problems_schema), indexed by problem_id."""
        if benchmark not in self.benchmarks:
            raise ResultsError(f"no benchmark {benchmark!r}; there are: {', '.join(self.benchmarks)}")
        path = self._existing(self.paths.benchmark(benchmark))
        return read_table(path, problems_schema()).set_index("problem_id")

    def table(self, name: str) -> str:
        """Return a finished table of the study as HTML."""
        return self._existing(self.paths.table(name, "html")).read_text(encoding="utf-8")

    def _existing(self, name: str) -> Path:
        """Return a path below `root` that must exist; ResultsError naming what its folder holds."""
        path = self.root / name
        if not path.exists():
            there = sorted(other.name for other in path.parent.glob("*")) if path.parent.is_dir() else []
            raise ResultsError(
                f"{path} does not exist ({path.parent.name}/ holds: {', '.join(there) or 'nothing'}). {self.hint}"
            )
        return path


def open_study(root: str | Path, study: str = "mini") -> StudyResults:
    """Return the results of `study` below `root`, the repository or any folder that holds results/.

    The study file is `root`/config/{study}.yaml, else the repository's. Raises ResultsError if there are no
    results, and study.StudyError for a study file that is wrong.
    """
    root = Path(root)
    folder = root / Paths(study).results
    if not folder.is_dir():
        there = sorted(path.name for path in (root / "results").glob("*") if path.is_dir())
        raise ResultsError(
            f"there are no results of the study {study!r}: {folder.resolve()} does not exist "
            f"(results/ holds: {', '.join(there) or 'nothing'}). "
            f"Run `{make_command(study)}` in the repository, or set ROOT to the folder that holds results/."
        )
    files = [config / f"{study}.yaml" for config in (root / "config", CONFIG)]
    declared = next((path for path in files if path.exists()), None)
    if declared is None:
        raise ResultsError(f"no study file: neither {files[0]} nor {files[1]} exists")
    return StudyResults(root, load_study(declared))


def make_command(study: str) -> str:
    """Return the command that makes the results of a study."""
    return "make mini" if study == "mini" else f"snakemake --config study={study}"
