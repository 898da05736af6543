"""Checkpoints that survive a kill or a power cut at any moment; an interrupted training ends bit-identical to an
uninterrupted one.

The resume folder holds the last two trainer checkpoints (weights, optimizer, RNG, EMA teacher), the exported models
(`models/step-K`, weights and tokenizer only) and the record parts. The list of a checkpoint is written last and names its
files, the record parts of earlier steps and the models exported so far. A checkpoint is valid if all of them agree with
the list (`records.resume`). Values that are not finite are never saved. Snakemake deletes the declared outputs of a
failed job, so these are written last.
"""

import logging
import shutil
import signal
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list, gather_object
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils.logging import disable_progress_bar

from selfdistill.models.finite import NotFinite, check_numbers, check_weights
from selfdistill.models.loading import check_model_folder, load_model, load_tokenizer
from selfdistill.records.file_lists import FILE_LIST, check_files, files_below, write_file_list
from selfdistill.records.files import atomic_path, link_or_copy
from selfdistill.records.resume import KEPT, delete_checkpoint, keep_newest, newest_whole, number_of
from selfdistill.training.exports import export_file
from selfdistill.training.job import STOP

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer

logger = logging.getLogger(__name__)

TRAINER_STATE = "trainer_state.json"
MODEL_SUFFIXES = (".safetensors", ".json", ".jinja", ".txt", ".model")
NOT_MODEL = (TRAINER_STATE, FILE_LIST)
RECORDS = "records"
"""Subfolder of the resume folder with the record parts; their names end in the number of their step."""
FINITE = ("loss", "grad_norm", "learning_rate")
"""Logged values that must be finite at every update."""


class Interrupted(SystemExit):
    """Training stopped by SIGTERM after a checkpoint; exit code 143 marks the job as not finished."""

    def __init__(self, step: int, steps: int) -> None:
        super().__init__(128 + signal.SIGTERM)
        logger.warning("stopped by SIGTERM after step %d of %d; the next call resumes there", step, steps)


def link_model(checkpoint: Path, target: Path, dtype: str = "float32") -> None:
    """Make `target` a model folder with the checkpoint's weights, configuration and tokenizer (hard links if possible).

    dtype: `float32` as trained, or `bfloat16`.
    """
    put = export_file if dtype == "bfloat16" else link_or_copy
    if target.exists():
        shutil.rmtree(target)
    with atomic_path(target) as temporary:
        temporary.mkdir()
        for file in sorted(checkpoint.iterdir()):
            if file.suffix in MODEL_SUFFIXES and file.name not in NOT_MODEL:
                put(file, temporary / file.name)
        write_file_list(temporary)


class CheckpointStore:
    """The checkpoints of one run in its resume folder.

    run: the run's name, for messages; updates_per_step: optimizer updates per step; exports: steps whose models are
    exported; updates: optimizer updates of the whole training; resume_every: steps between further checkpoints, which are
    not exported (0: none); dtype: of exported weights.
    """

    def __init__(
        self,
        folder: Path,
        *,
        run: str,
        updates_per_step: int,
        exports: Collection[int],
        updates: int,
        resume_every: int = 0,
        dtype: str = "float32",
    ) -> None:
        self.folder, self.run, self.updates = folder, run, updates
        self.updates_per_step, self.exports, self.resume_every = updates_per_step, exports, resume_every
        self.dtype = dtype

    def latest(self) -> Path | None:
        """Return the newest valid checkpoint, if there is one, and delete newer ones."""
        return newest_whole(self.folder, self.check)

    def check(self, checkpoint: Path) -> None:
        """Raise Damaged if a file of a checkpoint, a record part or an exported model differs from what was written."""
        check_files(checkpoint)
        for step in self._exported(checkpoint):
            check_files(self.model(step), contents=False)  # the evaluation checks the contents

    def model(self, step: int) -> Path:
        """Return the folder of the exported model of a step."""
        return self.folder / "models" / f"step-{step}"

    def commit(self, checkpoint: Path) -> None:
        """Complete `checkpoint`: export its model if it is due, write its list, and delete old checkpoints."""
        step = number_of(checkpoint) // self.updates_per_step
        if step in self.exports:
            link_model(checkpoint, self.model(step), self.dtype)
        records = (part for part in (self.folder / RECORDS).glob("*.parquet") if number_of(part) < step)
        models = (self.model(exported) / FILE_LIST for exported in self._exported(checkpoint))
        write_file_list(checkpoint, [*files_below(checkpoint), *records, *models])
        keep_newest(self.folder)

    def _exported(self, checkpoint: Path) -> list[int]:
        """Return the steps whose models are exported at or before `checkpoint`."""
        return [step for step in self.exports if step * self.updates_per_step <= number_of(checkpoint)]

    def publish(self, target: Path) -> None:
        """Write the exported models and their list to the run's checkpoints folder `target`, atomically."""
        if target.exists():
            shutil.rmtree(target)
        with atomic_path(target) as temporary:
            for step in self.exports:
                model = self.model(step)
                shutil.copytree(model, temporary / model.name, copy_function=link_or_copy)
            write_file_list(temporary, temporary.glob(f"*/{FILE_LIST}"))


class ResumableMixin:
    """Mixin for a transformers Trainer (list it first): complete checkpoints in a `CheckpointStore`, with the state that the
    trainer does not save, and checks for values that are not finite.
    """

    store: CheckpointStore | None = None

    def save_extra_state(self, folder: Path) -> None:
        """Write to `folder` what the trainer's checkpoint lacks."""

    def load_extra_state(self, folder: Path) -> None:
        """Restore what `save_extra_state` wrote."""

    def models(self) -> Iterator[tuple[str, torch.nn.Module]]:
        """Yield (name, model) of every model whose weights are part of a checkpoint."""
        yield "policy", self.model

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the trainer's loss; a NotFinite error also names the run and step."""
        try:
            return super().training_step(*args, **kwargs)
        except NotFinite as error:
            raise NotFinite(f"{self.place(self.state.global_step + 1)}: {error}") from error

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log an update as the trainer does. Raise NotFinite if a value or, at the end of a step, a weight is not finite."""
        numbers = {name: logs[name] for name in FINITE if name in logs}
        check_numbers(numbers, self.place(self.state.global_step))
        if self.store is not None and self.state.global_step % self.store.updates_per_step == 0:
            self.check_weights()
        super().log(logs, start_time)

    def place(self, update: int) -> str:
        """Return the run, step and update, counted from 1, for messages."""
        if self.store is None:
            return f"update {update}"
        return f"{self.store.run}, step {-(-update // self.store.updates_per_step)}, update {update}"

    def check_weights(self) -> None:
        """Raise NotFinite if a weight that this process holds is not finite."""
        for name, model in self.models():
            weights = map(local_shard, model.named_parameters())
            check_weights(weights, f"{self.place(self.state.global_step)}: {name}")

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Write a checkpoint as the trainer does, with the extra state, and commit it to the store."""
        self.check_weights()
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if self.is_world_process_zero():
            delete_checkpoint(folder)  # left by an interrupted call
            keep_newest(folder.parent, KEPT - 1)
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)
        self.save_extra_state(folder)
        self.accelerator.wait_for_everyone()  # the list must name the files of all processes
        if self.store is not None and self.is_world_process_zero():
            self.store.commit(folder)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Restore the optimizer and scheduler as the trainer does, then the extra state.

        Every kind of resume (DeepSpeed's too) calls this after loading the weights.
        """
        if self.args.device.type == "cpu":  # with several processes it is cpu:0, to which torch cannot load
            vars(self.args)["_setup_devices"] = torch.device("cpu")
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.load_extra_state(Path(checkpoint))


def local_shard(named: tuple[str, torch.Tensor]) -> tuple[str, torch.Tensor]:
    """Return (name, part of the parameter that this process holds): all of it unless the weights are sharded."""
    name, tensor = named
    if isinstance(tensor, DTensor):
        return name, tensor.to_local()
    return name, getattr(tensor, "ds_tensor", tensor)  # DeepSpeed keeps the shard there


class StopOnSignal(TrainerCallback):
    """On SIGTERM, write a checkpoint at the end of the step, where a resume is exact, and stop.

    If one process gets the signal, all stop after the same step; creating `file` has the same effect.
    """

    def __init__(self, updates_per_step: int, file: Path) -> None:
        self.updates_per_step, self.file = updates_per_step, file
        self.requested, self._previous = False, None

    def __enter__(self) -> "StopOnSignal":
        self._previous = signal.signal(signal.SIGTERM, self._request)
        return self

    def __exit__(self, *_: Any) -> None:
        signal.signal(signal.SIGTERM, self._previous)

    def _request(self, *_: Any) -> None:
        """Handle the signal."""
        logger.warning("SIGTERM: stopping after this step")
        self.requested = True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Ask for a checkpoint and the end of training once the rollouts of the step are used up."""
        if state.global_step % self.updates_per_step == 0:
            self.requested = any(gather_object([self.requested or self.file.exists()]))
            if self.requested:
                control.should_save = control.should_training_stop = True
        return control


class ResumeOften(TrainerCallback):
    """Write a checkpoint at the end of every `every`-th step too, not only where a model is exported."""

    def __init__(self, updates_per_step: int, every: int) -> None:
        self.period = updates_per_step * every

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Ask for a checkpoint if one is due."""
        control.should_save = control.should_save or state.global_step % self.period == 0
        return control


def train_with_resume(trainer: "Trainer", store: CheckpointStore) -> None:
    """Train to the end from the newest valid checkpoint of `store`. Raise Interrupted after SIGTERM.

    trainer: a Trainer with `ResumableMixin`.
    """
    trainer.store = store
    [checkpoint] = broadcast_object_list([store.latest() if trainer.is_world_process_zero() else None])
    if checkpoint is not None and number_of(checkpoint) >= store.updates:
        logger.info("training is already complete")
        return
    if store.resume_every:
        trainer.add_callback(ResumeOften(store.updates_per_step, store.resume_every))
    with StopOnSignal(store.updates_per_step, store.folder / STOP) as stop:
        trainer.add_callback(stop)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    done = trainer.state.global_step
    if done != store.updates and not stop.requested:
        raise RuntimeError(f"training ended after {done} of {store.updates} updates")
    if done < store.updates:
        trainer.accelerator.wait_for_everyone()  # the launcher ends the others soon after the first one leaves
        stop.file.unlink(missing_ok=True)
        raise Interrupted(done // store.updates_per_step, store.updates // store.updates_per_step)


def load_policy(folder: Path, attention: str) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """Return (model in float32, tokenizer) of a Hugging Face folder, without progress bars in the log.

    attention: name of the model's attention function.
    """
    disable_progress_bar()
    check_model_folder(folder)
    return load_model(folder, attention=attention), load_tokenizer(folder)
