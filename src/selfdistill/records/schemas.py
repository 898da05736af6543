"""Columns of every record of the study; nothing else in the project names one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from selfdistill.vocabulary.runs import DRAW, RUN_FIELDS

if TYPE_CHECKING:
    import pyarrow


SCHEMA_VERSION = 2
"""Raise it when a record schema changes its meaning: every job then runs again."""

OUTCOMES = ("correct", "wrong", "no_answer", "too_long", "timeout", "error")
"""What grading a response can come to; `too_long` is an answer over the length limit."""
FAILED_OUTCOMES = OUTCOMES[2:]
"""Those that are no verdict on the answer's value; training.parquet has the share of each as `{outcome}_fraction`."""


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

    return [(name, pa.int64() if name in DRAW else pa.string()) for name in RUN_FIELDS]


def samples_schema() -> "pyarrow.Schema":
    """Columns of samples, one row a response: the record from which every number is computed."""
    import pyarrow as pa

    from selfdistill.vocabulary.words import EPISTEMIC_WORDS

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

    from selfdistill.vocabulary.words import EPISTEMIC_WORDS

    means = (
        "score",
        "response_tokens",
        "epistemic_substring",
        "epistemic_word",
        *(f"substring_{w}" for w in EPISTEMIC_WORDS),
    )
    shares = (f"{name}_fraction" for name in ("demonstration", "truncated", *FAILED_OUTCOMES))
    facts = (*shares, "loss", "grad_norm", "learning_rate", "context_level")
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
            ("outcome", pa.string()),
            ("response_tokens", pa.int64()),
            ("truncated", pa.bool_()),
            ("has_demonstration", pa.bool_()),
        ]
    )


def positions_schema() -> "pyarrow.Schema":
    """Columns of SDPO's loss by class of token, one row per step and class."""
    import pyarrow as pa

    sums = [("tokens", pa.int64()), ("loss", pa.float64())]
    shares = [(f"{name}_share", pa.float64()) for name in ("token", "loss")]
    return pa.schema([*_run_columns(), ("step", pa.int64()), ("token_class", pa.string()), *sums, *shares])


def richness_schema() -> "pyarrow.Schema":
    """Columns of measured richness, one row per correct response, context and position class."""
    import pyarrow as pa

    return pa.schema(
        [
            ("study", pa.string()),
            *_run_columns(),
            ("problem_id", pa.string()),
            ("written", pa.string()),
            ("sample_index", pa.int64()),
            ("source", pa.bool_()),
            ("position", pa.string()),
            ("tokens", pa.int64()),
            ("nats", pa.float64()),
        ]
    )


def diagnosis_schema() -> "pyarrow.Schema":
    """Columns of the features of a planned run, one row; its run fields are those of the base with context, data set and coverage."""
    import pyarrow as pa

    from selfdistill.vocabulary.diagnosis import FEATURES, MEASURED_ON

    return pa.schema(
        [
            ("study", pa.string()),
            *_run_columns(),
            *((name, pa.float64()) for name in FEATURES),
            *((name, pa.int64()) for name in MEASURED_ON),
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
