"""Off-policy self-distillation (section 4): SFT on the model's own correct responses, with TRL's SFTTrainer.

The data sets D_ug and D_sg differ in the context under which the responses were generated. In training, the prompt is the
bare question in both, and the loss is on the response only.
"""

import time
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTTrainer

from selfdistill.records.files import write_table
from selfdistill.records.schemas import training_schema
from selfdistill.training.arguments import sft_arguments
from selfdistill.training.checkpoints import (
    RECORDS,
    CheckpointStore,
    ResumableMixin,
    load_policy,
    train_with_resume,
)
from selfdistill.training.datasets import sft_dataset
from selfdistill.training.distributed.sharding import ShardedMixin
from selfdistill.training.job import TrainingJob
from selfdistill.training.progress import ProgressCallback
from selfdistill.training.records import read_parts, training_row


class SupervisedTrainer(ResumableMixin, ShardedMixin, SFTTrainer):
    """TRL's SFTTrainer with resumable checkpoints."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write no model card: the manifest says how a checkpoint was made."""


class LossRecorder(TrainerCallback):
    """Write one part of the training record per optimizer update: loss, gradient norm and learning rate.

    folder: of the parts; fields: the run fields.
    """

    def __init__(self, folder: Path, fields: dict[str, Any]) -> None:
        self.folder, self.fields, self._started = folder, fields, time.monotonic()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock of an update."""
        self._started = time.monotonic()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Write the part of the last update."""
        if "grad_norm" in logs and state.is_world_process_zero:
            step = state.global_step - 1
            values = {name: logs[name] for name in ("loss", "grad_norm", "learning_rate")}
            row = training_row(
                self.fields, step, **values, tokens=0, seconds=time.monotonic() - self._started
            )
            write_table(self.folder / f"training-{step:06d}.parquet", row, training_schema(), durable=False)


def build_sft_trainer(job: TrainingJob) -> SupervisedTrainer:
    """Return the trainer of an SFT run with its tokenized data, records and progress."""
    model, tokenizer = load_policy(job.base, job.settings.attn_implementation)
    dataset = sft_dataset(job.data, tokenizer, job.thinking, job.settings.max_tokens)
    trainer = SupervisedTrainer(
        model,
        args=sft_arguments(job.settings, job.resume, job.seed, len(dataset)),
        train_dataset=dataset,
        processing_class=tokenizer,
        callbacks=[
            LossRecorder(job.resume / RECORDS, job.run.fields()),
            ProgressCallback(job.resume, 1),
        ],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def train_sft(job: TrainingJob) -> None:
    """Train one SFT run; write checkpoints/step-N (N: all optimizer updates) and training.parquet."""
    trainer = build_sft_trainer(job)
    updates = job.settings.updates(len(trainer.train_dataset))
    store = CheckpointStore(
        job.resume,
        run=str(job.run),
        updates_per_step=1,
        exports=[updates],
        updates=updates,
        resume_every=job.resume_every,
        dtype=job.settings.export_dtype,
    )
    train_with_resume(trainer, store)
    if trainer.is_world_process_zero():
        store.publish(job.output / "checkpoints")
        write_table(
            job.output / "training.parquet",
            read_parts(job.resume / RECORDS, "training", updates),
            training_schema(),
        )
