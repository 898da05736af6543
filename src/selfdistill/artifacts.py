"""Every path and every record schema of the study, and how they are written: atomically, with a manifest
beside them.

Nothing else in the project builds a path or names a column (DESIGN.md: "artifacts, nowhere else"). Paths are
relative to the working directory of Snakemake and contain wildcards in braces where a rule asks for a
pattern.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdistill.runs import RUN_FIELDS, Run

if TYPE_CHECKING:
    import pandas
    import pyarrow

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
"""Raise it when a record schema changes its meaning: every job then runs again."""

OUTCOMES = ("correct", "wrong", "no_answer", "timeout", "error")
RUN_PATTERN = "{model}/{method}/{context}/{teacher}/{dataset}/{coverage}/{variant}/seed-{seed}"


class Paths:
    """Builds the paths of one study.

    A method without arguments gives the pattern with wildcards for its rule.
    """

    def __init__(self, study: str) -> None:
        self.study = study
        self.results = f"results/{study}"
        self.logs = f"logs/{study}"
        self.report = f"{self.results}/report.html"
        self.lock = f"{self.results}/locks/workflow.lock"
        self.warm_log = f"{self.logs}/warm.log"

    def training_problems(self, dataset: str = "{dataset}", coverage: str = "{coverage}") -> str:
        """A training problem set, whole (`full`) or a coverage subset."""
        return f"{self.results}/problems/train/{dataset}/{coverage}.parquet"

    def benchmark(self, benchmark: str = "{benchmark}") -> str:
        """The problems of a benchmark."""
        return f"{self.results}/problems/benchmarks/{benchmark}.parquet"

    def base(self, base: str = "{base}") -> str:
        """Folder with a base model as Hugging Face writes it."""
        return f"{self.results}/bases/{base}/model"

    def section_3(self, model: str = "{model}") -> str:
        """Samples of section 3: one model under four contexts."""
        return f"{self.results}/section-3/{model}.parquet"

    def off_policy(
        self, model: str = "{model}", dataset: str = "{dataset}", context: str = "{context}"
    ) -> str:
        """Off-policy data set of section 4 (a row is a problem with the model's own correct response)."""
        return f"{self.results}/off-policy/{model}/{dataset}/{context}.parquet"

    def off_policy_manifest(self, model: str = "{model}", dataset: str = "{dataset}") -> str:
        """Manifest of a model's off-policy data sets."""
        return f"{self.results}/off-policy/{model}/{dataset}/manifest.json"

    def run(self, run: Run | None = None, **fields: str) -> str:
        """Folder of a run; with `fields` a pattern in which these fields are fixed (`method="grpo"`)."""
        values = {name: f"{{{name}}}" for name in RUN_FIELDS} | fields | (run.fields() if run else {})
        return f"{self.results}/runs/{RUN_PATTERN.format(**values)}"

    def checkpoints(self, run: Run | None = None, **fields: str) -> str:
        """Folder of a run's checkpoints step-{step}/; step 0 is the base and is not stored."""
        return f"{self.run(run, **fields)}/checkpoints"

    def training(self, run: Run | None = None, **fields: str) -> str:
        """Per-step training record of a run."""
        return f"{self.run(run, **fields)}/training.parquet"

    def rollouts(self, run: Run | None = None, **fields: str) -> str:
        """Text of every rollout of a run."""
        return f"{self.run(run, **fields)}/rollouts.parquet"

    def run_manifest(self, run: Run | None = None, **fields: str) -> str:
        """Manifest of a run's training."""
        return f"{self.run(run, **fields)}/manifest.json"

    def samples(self, run: Run | None = None, **fields: str) -> str:
        """Samples of all checkpoints of a run on all benchmarks."""
        return f"{self.run(run, **fields)}/samples.parquet"

    def manifest(self, path: str) -> str:
        """Manifest beside the output `path`: x.parquet and x/ both have x.manifest.json."""
        return f"{os.path.splitext(path)[0]}.manifest.json"

    def figure(self, name: str, suffix: str) -> str:
        """A figure (`{figure}` for its rule); suffix `png`, `svg`, `txt` (its caption) or `manifest.json`."""
        return f"{self.results}/figures/{name}.{suffix}"

    def table(self, name: str, suffix: str) -> str:
        """A table (`{table}` for its rule); suffix `csv`, `md`, `html` or `manifest.json`."""
        return f"{self.results}/tables/{name}.{suffix}"

    def claims(self, suffix: str) -> str:
        """The claims ledger; suffix `json`, `md`, `html` (a fragment of the report) or `manifest.json`."""
        return f"{self.results}/claims.{suffix}"

    def resume(self, path: str) -> str:
        """Where the job that writes `path` keeps what it resumes from; Snakemake never deletes it."""
        return f"{self.results}/resume/{os.path.splitext(os.path.relpath(path, self.results))[0]}"

    def numbers(self, name: str) -> str:
        """A frame of numbers made from all samples: `estimates`, `differences` or `shift`."""
        return f"{self.results}/numbers/{name}.parquet"

    def log(self, rule: str, path: str) -> str:
        """Log of the job of `rule` that writes `path`."""
        return f"{self.logs}/{rule}/{os.path.relpath(os.path.splitext(path)[0], self.results)}.log"

    def benchmark_log(self, rule: str, path: str) -> str:
        """Time and memory of the job of `rule` that writes `path`, as Snakemake measures them.

        Of a job that the warm process ran only the wall seconds are right: Snakemake sees the script that waits. The manifest has all.
        """
        return f"{self.logs}/benchmark/{rule}/{os.path.relpath(os.path.splitext(path)[0], self.results)}.tsv"


class SchemaError(ValueError):
    """A table that does not have its schema; names the file and the columns."""


def problems_schema() -> "pyarrow.Schema":
    """Columns of a problem set."""
    import pyarrow as pa

    text = [(name, pa.string()) for name in ("problem_id", "dataset", "type", "question")]
    return pa.schema([*text, ("answers", pa.list_(pa.string())), ("metadata", pa.string())])


def _run_columns() -> list[tuple[str, "pyarrow.DataType"]]:
    """The run fields as columns."""
    import pyarrow as pa

    return [(name, pa.int64() if name == "seed" else pa.string()) for name in RUN_FIELDS]


def samples_schema() -> "pyarrow.Schema":
    """Columns of samples, one row a response: the record from which every number is computed."""
    import pyarrow as pa

    from selfdistill.epistemic import EPISTEMIC_WORDS

    counts = [(f"{kind}_{word}", pa.int64()) for kind in ("substring", "word") for word in EPISTEMIC_WORDS]
    return pa.schema(
        [
            ("study", pa.string()),
            *_run_columns(),
            ("step", pa.int64()),
            ("benchmark", pa.string()),
            ("problem_id", pa.string()),
            ("sample_index", pa.int64()),
            ("prompt_hash", pa.string()),
            ("response", pa.string()),
            ("extracted_answer", pa.string()),
            ("correct", pa.bool_()),
            ("outcome", pa.string()),
            ("response_tokens", pa.int64()),
            ("thinking_tokens", pa.int64()),
            ("truncated", pa.bool_()),
            *counts,
            *((name, pa.int64()) for name in ("epistemic_substring", "epistemic_word", "total_words")),
        ]
    )


def training_schema() -> "pyarrow.Schema":
    """Columns of the training record, one row a step (a rollout batch; the weights before its updates)."""
    import pyarrow as pa

    from selfdistill.epistemic import EPISTEMIC_WORDS

    means = (
        "score",
        "response_tokens",
        "epistemic_substring",
        "epistemic_word",
        *(f"substring_{w}" for w in EPISTEMIC_WORDS),
    )
    facts = ("demonstration_fraction", "truncated_fraction", "loss", "grad_norm", "learning_rate")
    floats = [(name, pa.float64()) for name in (*means, *facts)]
    return pa.schema(
        [*_run_columns(), ("step", pa.int64()), *floats, ("tokens", pa.int64()), ("seconds", pa.float64())]
    )


def rollouts_schema() -> "pyarrow.Schema":
    """Columns of the rollouts, one row a response generated in training."""
    import pyarrow as pa

    return pa.schema(
        [
            ("step", pa.int64()),
            ("problem_id", pa.string()),
            ("sample_index", pa.int64()),
            ("response", pa.string()),
            ("score", pa.float64()),
            ("response_tokens", pa.int64()),
            ("truncated", pa.bool_()),
            ("has_demonstration", pa.bool_()),
        ]
    )


def off_policy_schema() -> "pyarrow.Schema":
    """Columns of an off-policy data set of section 4."""
    import pyarrow as pa

    text = [(name, pa.string()) for name in ("problem_id", "question", "response")]
    counts = ("response_tokens", "epistemic_substring", "epistemic_word")
    return pa.schema([*text, *((name, pa.int64()) for name in counts)])


def check_columns(path: str | Path, columns: Sequence[str], schema: "pyarrow.Schema") -> None:
    """Raise SchemaError if `columns` are not exactly the schema's."""
    missing = [name for name in schema.names if name not in columns]
    extra = [name for name in columns if name not in schema.names]
    if missing or extra:
        parts = [
            f"{word} columns {', '.join(names)}"
            for word, names in (("missing", missing), ("extra", extra))
            if names
        ]
        raise SchemaError(f"{path}: {'; '.join(parts)} (schema: {', '.join(schema.names)})")


def write_table(path: str | Path, table: "pandas.DataFrame", schema: "pyarrow.Schema") -> None:
    """Write `table` as parquet with exactly `schema`, atomically.

    Raises SchemaError on other columns or types.
    """
    import pyarrow as pa
    import pyarrow.parquet

    check_columns(path, list(table.columns), schema)
    try:
        converted = pa.Table.from_pandas(table[schema.names], schema=schema, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SchemaError(f"{path}: {' '.join(str(part) for part in error.args)}") from error
    converted = converted.replace_schema_metadata({"schema_version": str(SCHEMA_VERSION)})
    with atomic_path(path) as temporary:
        pyarrow.parquet.write_table(converted, temporary)


def read_table(
    path: str | Path, schema: "pyarrow.Schema", columns: Sequence[str] | None = None
) -> "pandas.DataFrame":
    """The table at `path`, or some of its `columns`.

    Raises SchemaError if the file does not have `schema`.
    """
    import pyarrow.parquet

    check_columns(path, pyarrow.parquet.read_schema(path).names, schema)
    return pyarrow.parquet.read_table(path, columns=list(columns) if columns else None).to_pandas()


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def write_frame(path: str | Path, frame: "pandas.DataFrame") -> None:
    """Write a frame of numbers (columns: its module's) as parquet, atomically."""
    with atomic_path(path) as temporary:
        frame.to_parquet(temporary, index=False)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def slice_hash(slice_: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a resolved config slice, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(slice_, sort_keys=True, default=str).encode()).hexdigest()


@contextlib.contextmanager
def job_lock(path: str | Path) -> Iterator[bool]:
    """Hold the lock file `path`; yields whether another process had to be waited for.

    A job survives a `kill -9` of Snakemake. The same job of the next call must not work on its files, so it
    waits here; the kernel drops the lock with the process, so a dead one never blocks.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "a+", encoding="utf-8") as handle:
        waited = _acquire(handle, target)
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield waited


def _acquire(handle: Any, path: Path) -> bool:
    """Lock an open file, waiting for its holder if there is one; True if it had to wait."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOTSUP):
            logger.warning(
                "%s: this file system has no locks; two jobs on one output would not be noticed", path
            )
            return False
        handle.seek(0)
        logger.warning(
            "%s is held by process %s, which still works on this output; waiting", path, handle.read().strip()
        )
        fcntl.flock(handle, fcntl.LOCK_EX)
        return True
    return False


def lock_of(resume: str | Path) -> Path:
    """The lock file of the job that resumes from `resume`."""
    return Path(str(resume).replace("/resume/", "/locks/", 1) + ".lock")


def is_locked(path: str | Path) -> bool:
    """Whether a living process holds the lock file `path`."""
    if not os.path.exists(path):
        return False
    with open(path, encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
