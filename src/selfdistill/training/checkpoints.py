"""Checkpoints that survive a kill at any moment, and a training that ends bit-identical whether it was killed
or not.

The resume folder holds at most one complete trainer checkpoint (weights, optimizer, RNG, EMA teacher), the
exported models (`models/step-K`, weights and tokenizer only) and the record parts. A checkpoint counts once
its `COMPLETE` marker, written last, is there; what a kill left half-written is deleted. Snakemake deletes
declared outputs of a failed job, so these are made last.
"""

import logging
import os
import shutil
import signal
from pathlib import Path

import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback
from transformers.utils.logging import disable_progress_bar

from selfdistill.models.loading import load_model, load_tokenizer
from selfdistill.records.files import atomic_path
from selfdistill.training.job import STOP

logger = logging.getLogger(__name__)

COMPLETE = "COMPLETE"
TRAINER_STATE = "trainer_state.json"
MODEL_SUFFIXES = (".safetensors", ".json", ".jinja", ".txt", ".model")
NOT_MODEL = (TRAINER_STATE, COMPLETE)


class Interrupted(SystemExit):
    """Training stopped by SIGTERM after a checkpoint; the process ends with code 143 so that the job is not
    taken for done.
    """

    def __init__(self, step: int, steps: int) -> None:
        super().__init__(128 + signal.SIGTERM)
        logger.warning("stopped by SIGTERM at step %d of %d; the next call continues there", step, steps)


def delete_checkpoint(folder: Path) -> None:
    """Delete a checkpoint folder, its marker first, so that a kill in between leaves an incomplete one."""
    (folder / COMPLETE).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def link_model(checkpoint: Path, target: Path) -> None:
    """Make `target` a model folder with the checkpoint's weights, configuration and tokenizer (hard links
    where possible).
    """
    if target.exists():
        shutil.rmtree(target)
    with atomic_path(target) as temporary:
        temporary.mkdir()
        for file in sorted(checkpoint.iterdir()):
            if file.suffix in MODEL_SUFFIXES and file.name not in NOT_MODEL:
                _link(file, temporary / file.name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)


class CheckpointStore:
    """The checkpoints of one run in its resume folder.

    updates_per_step: optimizer updates a step; export_every: steps between exported models (None: only the
    last); updates: all.
    """

    def __init__(
        self, folder: Path, *, updates_per_step: int, export_every: int | None, updates: int
    ) -> None:
        self.folder, self.updates_per_step, self.export_every, self.updates = (
            folder,
            updates_per_step,
            export_every,
            updates,
        )

    def latest(self) -> Path | None:
        """The newest complete checkpoint; incomplete ones are deleted."""
        found = {}
        for folder in self.folder.glob("checkpoint-*"):
            if (folder / COMPLETE).exists():
                found[updates_of(folder)] = folder
            else:
                logger.warning("deleting %s, which was not written to its end", folder.name)
                delete_checkpoint(folder)
        return found[max(found)] if found else None

    def commit(self, checkpoint: Path) -> None:
        """Declare `checkpoint` complete: export its model if it is due, set the marker, delete older
        checkpoints.
        """
        updates = updates_of(checkpoint)
        step = updates // self.updates_per_step
        if updates == self.updates or (self.export_every and step % self.export_every == 0):
            link_model(checkpoint, self.folder / "models" / f"step-{step}")
        (checkpoint / COMPLETE).touch()
        for other in self.folder.glob("checkpoint-*"):
            if other != checkpoint:
                delete_checkpoint(other)

    def publish(self, target: Path) -> None:
        """Put the exported models into the run's checkpoints folder, all at once."""
        if target.exists():
            shutil.rmtree(target)
        with atomic_path(target) as temporary:
            for model in sorted((self.folder / "models").glob("step-*")):
                shutil.copytree(model, temporary / model.name, copy_function=_link)


def updates_of(checkpoint: Path) -> int:
    """Optimizer updates done at a checkpoint, from its folder's name."""
    return int(checkpoint.name.rpartition("-")[2])


class ResumableMixin:
    """Stands before a transformers Trainer: commits checkpoints to a `CheckpointStore`, with state that the
    trainer forgets.
    """

    store: CheckpointStore | None = None

    def save_extra_state(self, folder: Path) -> None:
        """Write what the trainer's checkpoint lacks into `folder`."""

    def load_extra_state(self, folder: Path) -> None:
        """Restore what `save_extra_state` wrote."""

    def _save_checkpoint(self, model, trial) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if self.is_world_process_zero():
            delete_checkpoint(folder)
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)
        self.save_extra_state(folder)
        self.accelerator.wait_for_everyone()
        if self.store is not None and self.is_world_process_zero():
            self.store.commit(folder)

    def _load_optimizer_and_scheduler(self, checkpoint) -> None:
        # called on every path of a resume (also DeepSpeed's), after the weights were loaded
        if self.args.device.type == "cpu":  # several processes call it cpu:0, onto which torch loads nothing
            vars(self.args)["_setup_devices"] = torch.device("cpu")
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.load_extra_state(Path(checkpoint))


class StopOnSignal(TrainerCallback):
    """Turns SIGTERM into a checkpoint at the next step boundary, where a resume is exact, and a stop.

    On several processes the signal of one stops all of them at the same step; so does `file`, which whoever
    started them can make.
    """

    def __init__(self, updates_per_step: int, file: Path) -> None:
        self.updates_per_step, self.file = updates_per_step, file
        self.requested, self._previous = False, None

    def __enter__(self) -> "StopOnSignal":
        self._previous = signal.signal(signal.SIGTERM, self._request)
        return self

    def __exit__(self, *_) -> None:
        signal.signal(signal.SIGTERM, self._previous)

    def _request(self, *_) -> None:
        logger.warning("SIGTERM: stopping after this step")
        self.requested = True

    def on_step_end(self, args, state, control, **_):
        """Ask for a checkpoint and the end of training once the batch of rollouts is used up."""
        if state.global_step % self.updates_per_step == 0:
            self.requested = any(gather_object([self.requested or self.file.exists()]))
            if self.requested:
                control.should_save = control.should_training_stop = True
        return control


def train_with_resume(trainer, store: CheckpointStore) -> None:
    """Train to the end from the last complete checkpoint of `store`; raises Interrupted after a SIGTERM."""
    trainer.store = store
    with trainer.accelerator.main_process_first():  # which tidies up before the others look
        checkpoint = store.latest()
    if checkpoint is not None and updates_of(checkpoint) >= store.updates:
        logger.info("training is already complete")
        return
    with StopOnSignal(store.updates_per_step, store.folder / STOP) as stop:
        trainer.add_callback(stop)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    done = trainer.state.global_step
    if done != store.updates and not stop.requested:
        raise RuntimeError(f"training ended after {done} of {store.updates} updates")
    if done < store.updates:
        stop.file.unlink(missing_ok=True)
        raise Interrupted(done // store.updates_per_step, store.updates // store.updates_per_step)


def discard(resume: Path) -> None:
    """Delete a run's resume folder; for the caller, once outputs and manifest are written."""
    shutil.rmtree(resume, ignore_errors=True)


def load_policy(folder: Path):
    """(model in float32, tokenizer) of a Hugging Face folder, without progress bars in the log."""
    disable_progress_bar()
    return load_model(folder), load_tokenizer(folder)
