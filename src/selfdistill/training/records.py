"""Records of a training run: one row a step (training.parquet) and every rollout (rollouts.parquet).

The parts of a step are written to the resume folder when its last update is logged, before any checkpoint of
that state. A step that is trained again after a kill overwrites its parts, so a resumed run ends with the
records of an uninterrupted one (but for the wall time). Trainers report through TRL's callbacks; the rollouts
come in with the reward call.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas
import pyarrow
from accelerate.utils import gather_object
from transformers import TrainerCallback

from selfdistill.grading.answers import Grade
from selfdistill.grading.epistemic import count_columns
from selfdistill.models.finite import check_numbers
from selfdistill.records.files import read_arrow, write_table
from selfdistill.records.outcomes import outcome_shares
from selfdistill.records.schemas import FAILED_OUTCOMES, rollouts_schema, training_schema
from selfdistill.training.rewards import Reward
from selfdistill.vocabulary.runs import DRAW

NAN = float("nan")
CONTEXT_LEVEL = "context_level"
"""Column, and name among the trainer's logs."""


def training_row(fields: dict[str, Any], step: int, **values: float) -> pandas.DataFrame:
    """One row of the training record; what a method does not have is NaN."""
    schema = training_schema()
    row = (
        dict.fromkeys(schema.names, NAN)
        | fields
        | {name: int(fields[name]) for name in DRAW}
        | {"step": step}
        | values
    )
    return pandas.DataFrame([row])[schema.names]


class RolloutRecorder(TrainerCallback):
    """Collects one batch of rollouts and its optimizer updates, and writes the two parts of the step.

    fields: the run fields; folder: where the parts go; end_token_ids: what ends a complete response.
    """

    def __init__(
        self, folder: Path, fields: dict[str, Any], updates_per_step: int, end_token_ids: Sequence[int]
    ) -> None:
        self.folder, self.fields, self.updates_per_step = folder, fields, updates_per_step
        self.end_token_ids = set(end_token_ids)
        self.rollouts: pandas.DataFrame | None = None
        self.logs: list[dict[str, float]] = []
        self._started = time.monotonic()

    def observe(
        self,
        step: int,
        problem_ids: list[str],
        responses: list[str],
        ids: list[list[int]],
        grades: Sequence[Grade],
    ) -> None:
        """Take in the rollouts of this process, in order; groups of a problem are numbered on through the
        step.
        """
        local = [
            (step, problem, response, grade.score, grade.outcome, len(row), row[-1] not in self.end_token_ids)
            for problem, response, grade, row in zip(problem_ids, responses, grades, ids, strict=True)
        ]
        names = ["step", "problem_id", "response", "score", "outcome", "response_tokens", "truncated"]
        frame = pandas.DataFrame(gather_object(local), columns=names)
        frame.insert(2, "sample_index", frame.groupby("problem_id").cumcount())
        frame["has_demonstration"] = None
        self.rollouts, self.logs = frame, []

    def on_self_distillation_batch_prepared(
        self, args, state, control, self_distillation_mask=None, **_
    ) -> None:
        """TRL's SDPO callback: which rollouts have a demonstration."""
        self.rollouts["has_demonstration"] = gather_object([bool(x) for x in self_distillation_mask.tolist()])

    def on_step_begin(self, args, state, control, **_) -> None:
        """Start the clock of a step."""
        if state.global_step % self.updates_per_step == 0:
            self._started = time.monotonic()

    def on_log(self, args, state, control, logs=None, **_) -> None:
        """Collect an update's loss; after the last update of the step, write its parts."""
        if "grad_norm" not in logs:
            return
        self.logs.append(logs)
        if state.global_step % self.updates_per_step == 0 and state.is_world_process_zero:
            self.write(state.global_step // self.updates_per_step - 1)

    def write(self, step: int) -> None:
        """Write the parts of a step."""
        frame, logs = self.rollouts, pandas.DataFrame(self.logs)
        counts = count_columns(frame["response"].tolist())
        names = [name for name in training_schema().names if name in counts.columns]
        shares = outcome_shares(frame["outcome"])
        row = training_row(
            self.fields,
            step,
            **counts[names].mean().to_dict(),
            **{f"{name}_fraction": shares[name] for name in FAILED_OUTCOMES},
            score=frame["score"].mean(),
            response_tokens=frame["response_tokens"].mean(),
            demonstration_fraction=pandas.to_numeric(frame["has_demonstration"]).mean(),
            truncated_fraction=frame["truncated"].mean(),
            loss=logs["loss"].mean(),
            grad_norm=logs["grad_norm"].mean(),
            learning_rate=logs["learning_rate"].iloc[-1],
            context_level=logs[CONTEXT_LEVEL].mean() if CONTEXT_LEVEL in logs else NAN,
            tokens=int(frame["response_tokens"].sum()),
            seconds=time.monotonic() - self._started,
        )
        write_table(self.folder / f"rollouts-{step:06d}.parquet", frame, rollouts_schema(), durable=False)
        write_table(self.folder / f"training-{step:06d}.parquet", row, training_schema(), durable=False)


class RecordedReward:
    """The reward as TRL calls it, which shows every batch of rollouts to the recorder."""

    __name__ = "reward"

    def __init__(self, reward: Reward, recorder: RolloutRecorder) -> None:
        self.reward, self.recorder = reward, recorder

    def __call__(
        self, *, completions, completion_ids, problem_id, answers, trainer_state, **_
    ) -> list[float]:
        """Scores of the completions."""
        responses = [completion[0]["content"] for completion in completions]
        grades = self.reward(responses, answers)
        step = trainer_state.global_step // self.recorder.updates_per_step
        scores = [grade.score for grade in grades]
        check_numbers(dict(zip(problem_id, scores, strict=True)), f"scores of step {step + 1}")
        self.recorder.observe(step, problem_id, responses, completion_ids, grades)
        return scores


def read_parts(folder: Path, kind: str, steps: int) -> pandas.DataFrame:
    """Return the parts of a kind (`rollouts` or `training`) of the first `steps` steps in one frame."""
    files = [folder / f"{kind}-{step:06d}.parquet" for step in range(steps)]
    return pyarrow.concat_tables(map(read_arrow, files)).to_pandas()


def assemble_records(folder: Path, output: Path, steps: int) -> None:
    """Write rollouts.parquet and training.parquet from the parts of all steps; `tokens` becomes cumulative
    here.
    """
    write_table(output / "rollouts.parquet", read_parts(folder, "rollouts", steps), rollouts_schema())
    training = read_parts(folder, "training", steps)
    training["tokens"] = training["tokens"].cumsum()
    write_table(output / "training.parquet", training, training_schema())
