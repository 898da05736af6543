"""Checkpoints that survive a kill or a power cut at any moment, and a training that ends bit-identical whether it
was killed or not.

The resume folder holds the last two trainer checkpoints (weights, optimizer, RNG, EMA teacher), the exported models
(`models/step-K`, weights and tokenizer only) and the record parts. A checkpoint counts if its list of files, written
last, agrees with them, with the record parts of the steps before it and with the models exported until then
(selfdistill.records.resume). Nothing that is not finite is ever saved. Snakemake deletes declared outputs of a
failed job, so these are made last.
"""

import logging
import shutil
import signal
from collections.abc import Collection, Iterator
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list, gather_object
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback
from transformers.utils.logging import disable_progress_bar

from selfdistill.models.finite import NotFinite, check_numbers, check_weights
from selfdistill.models.loading import check_model_folder, load_model, load_tokenizer
from selfdistill.records.file_lists import FILE_LIST, check_files, files_below, write_file_list
from selfdistill.records.files import atomic_path, link_or_copy
from selfdistill.records.resume import KEPT, delete_checkpoint, keep_newest, newest_whole, number_of
from selfdistill.training.job import STOP

logger = logging.getLogger(__name__)

TRAINER_STATE = "trainer_state.json"
MODEL_SUFFIXES = (".safetensors", ".json", ".jinja", ".txt", ".model")
NOT_MODEL = (TRAINER_STATE, FILE_LIST)
RECORDS = "records"
"""Folder of the resume folder with the record parts, whose names end in the number of their step."""
FINITE = ("loss", "grad_norm", "learning_rate")
"""What is logged at every update and must be finite."""


class Interrupted(SystemExit):
    """Training stopped by SIGTERM after a checkpoint; the process ends with code 143 so that the job is not
    taken for done.
    """

    def __init__(self, step: int, steps: int) -> None:
        super().__init__(128 + signal.SIGTERM)
        logger.warning("stopped by SIGTERM at step %d of %d; the next call continues there", step, steps)


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
                link_or_copy(file, temporary / file.name)
        write_file_list(temporary)


class CheckpointStore:
    """The checkpoints of one run in its resume folder.

    run: its name, for messages; updates_per_step: optimizer updates a step; exports: the steps whose models are
    exported; updates: all.
    """

    def __init__(
        self, folder: Path, *, run: str, updates_per_step: int, exports: Collection[int], updates: int
    ) -> None:
        self.folder, self.run, self.updates = folder, run, updates
        self.updates_per_step, self.exports = updates_per_step, exports

    def latest(self) -> Path | None:
        """The newest whole checkpoint; what is newer and not whole is deleted."""
        return newest_whole(self.folder, self.check)

    def check(self, checkpoint: Path) -> None:
        """Raise Damaged if a file of a checkpoint, a record part or an exported model is not as it was written."""
        check_files(checkpoint)
        for step in self._exported(checkpoint):
            check_files(self.model(step), contents=False)  # the evaluation reads the contents

    def model(self, step: int) -> Path:
        """The folder of an exported model."""
        return self.folder / "models" / f"step-{step}"

    def commit(self, checkpoint: Path) -> None:
        """Declare `checkpoint` complete: export its model if it is due, list its files and what belongs to it, and
        delete older ones.
        """
        step = number_of(checkpoint) // self.updates_per_step
        if step in self.exports:
            link_model(checkpoint, self.model(step))
        records = (part for part in (self.folder / RECORDS).glob("*.parquet") if number_of(part) < step)
        models = (self.model(exported) / FILE_LIST for exported in self._exported(checkpoint))
        write_file_list(checkpoint, [*files_below(checkpoint), *records, *models])
        keep_newest(self.folder)

    def _exported(self, checkpoint: Path) -> list[int]:
        return [step for step in self.exports if step * self.updates_per_step <= number_of(checkpoint)]

    def publish(self, target: Path) -> None:
        """Put the exported models into the run's checkpoints folder, all at once, with a list of them."""
        if target.exists():
            shutil.rmtree(target)
        with atomic_path(target) as temporary:
            for step in self.exports:
                model = self.model(step)
                shutil.copytree(model, temporary / model.name, copy_function=link_or_copy)
            write_file_list(temporary, temporary.glob(f"*/{FILE_LIST}"))


class ResumableMixin:
    """Stands before a transformers Trainer: commits checkpoints to a `CheckpointStore`, with state that the
    trainer forgets.
    """

    store: CheckpointStore | None = None

    def save_extra_state(self, folder: Path) -> None:
        """Write what the trainer's checkpoint lacks into `folder`."""

    def load_extra_state(self, folder: Path) -> None:
        """Restore what `save_extra_state` wrote."""

    def models(self) -> Iterator[tuple[str, torch.nn.Module]]:
        """Yield the models whose weights are part of a checkpoint."""
        yield "policy", self.model

    def training_step(self, *args, **kwargs) -> torch.Tensor:
        """As the trainer's; logits that are not finite are named with the run and step."""
        try:
            return super().training_step(*args, **kwargs)
        except NotFinite as error:
            raise NotFinite(f"{self.place(self.state.global_step + 1)}: {error}") from error

    def log(self, logs, start_time=None) -> None:
        """As the trainer's, which is called after every update; first raise NotFinite where a number or, at the end of
        a step, a weight is not finite.
        """
        numbers = {name: logs[name] for name in FINITE if name in logs}
        check_numbers(numbers, self.place(self.state.global_step))
        if self.store is not None and self.state.global_step % self.store.updates_per_step == 0:
            self.check_weights()
        super().log(logs, start_time)

    def place(self, update: int) -> str:
        """Name the run, and the step of an update (both counted from 1), for messages."""
        if self.store is None:
            return f"update {update}"
        return f"{self.store.run}, step {-(-update // self.store.updates_per_step)}, update {update}"

    def check_weights(self) -> None:
        """Raise NotFinite if this process's part of a model has a weight that is not finite."""
        for name, model in self.models():
            weights = map(local_shard, model.named_parameters())
            check_weights(weights, f"{self.place(self.state.global_step)}: {name}")

    def _save_checkpoint(self, model, trial) -> None:
        self.check_weights()
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if self.is_world_process_zero():
            delete_checkpoint(folder)
            keep_newest(folder.parent, KEPT - 1)
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


def local_shard(named: tuple[str, torch.Tensor]) -> tuple[str, torch.Tensor]:
    """Return a parameter by its name as far as this process holds it (all of it, unless the weights are shared out)."""
    name, tensor = named
    if isinstance(tensor, DTensor):
        return name, tensor.to_local()
    return name, getattr(tensor, "ds_tensor", tensor)  # DeepSpeed keeps the shard there


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
    """Train to the end from the last whole checkpoint of `store`; raises Interrupted after a SIGTERM."""
    trainer.store = store
    [checkpoint] = broadcast_object_list([store.latest() if trainer.is_world_process_zero() else None])
    if checkpoint is not None and number_of(checkpoint) >= store.updates:
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


def load_policy(folder: Path):
    """(model in float32, tokenizer) of a Hugging Face folder, without progress bars in the log."""
    disable_progress_bar()
    check_model_folder(folder)
    return load_model(folder), load_tokenizer(folder)
