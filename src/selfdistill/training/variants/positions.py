"""SDPO whose loss counts at some tokens only, and the share of the loss that each class of tokens has (`study.methods.positions`)."""

from pathlib import Path
from typing import Any

import pandas
import torch
from accelerate import PartialState
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import TrainerCallback

from selfdistill.grading.token_classes import text_classes
from selfdistill.models.offsets import token_offsets
from selfdistill.records.files import write_table
from selfdistill.records.schemas import positions_schema
from selfdistill.study.methods.positions import WITHOUT, PositionsSettings
from selfdistill.training.checkpoints import RECORDS
from selfdistill.training.job import TrainingJob
from selfdistill.training.records import read_parts
from selfdistill.training.rewards import Reward
from selfdistill.training.sdpo import drawn_weights, train_distilled
from selfdistill.training.variants.scores import ScoringTrainer, least_of_highest
from selfdistill.vocabulary.runs import DRAW
from selfdistill.vocabulary.token_classes import POSITIONS, TOKEN_CLASSES

KIND = "positions"
"""Of the parts of the record, and name of its file."""
CLASSES = "token_classes"
"""Column of a batch, (rows, completion, classes), int8: 1 where a token belongs to a class of TOKEN_CLASSES."""


def kept_tokens(classes: torch.Tensor, settings: PositionsSettings) -> torch.Tensor:
    """Return whether tokens have a loss, (tokens,), bool; classes: (tokens, classes)."""
    inside = classes[:, [TOKEN_CLASSES.index(name) for name in settings.at]].any(dim=1)
    return ~inside if settings.keep == WITHOUT else inside


class PositionsTrainer(ScoringTrainer):
    """SelfDistillationTrainer with a loss at some tokens; settings: the run's; record: writes the shares of the loss."""

    def __init__(
        self, *args: Any, settings: PositionsSettings, record: "ShareRecorder", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings
        self.class_sums = self.no_sums()
        record.trainer = self
        self.add_callback(record)

    def no_sums(self) -> torch.Tensor:
        """Return sums of tokens and of losses per class, (2, classes), before any token."""
        return torch.zeros(2, len(TOKEN_CLASSES), dtype=torch.float64, device=self.accelerator.device)

    def _prepare_training_batch(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch with the classes that the texts of the rollouts decide; the others follow per mini-batch."""
        batch = super()._prepare_training_batch(inputs)
        texts, offsets = token_offsets(self._tokenizer, self._get_completion_ids_list(batch))
        rows = [torch.from_numpy(text_classes(*row)) for row in zip(texts, offsets, strict=True)]
        batch[CLASSES] = pad_sequence(rows, batch_first=True).to(self.accelerator.device, torch.int8)
        return batch

    def _finish_mini_batch(self, mini_batch: list[dict], moved: bool) -> list[dict]:
        """Return the mixin's micro-batches with all classes: entropies are those before the first update of the step."""
        mini_batch = super()._finish_mini_batch(mini_batch, moved)
        entropies = [
            self.policy_scores(batch, self.has_loss(batch))["policy_entropies"] for batch in mini_batch
        ]
        masks = [self.loss_mask(batch).bool() for batch in mini_batch]
        least = least_of_highest(self.everywhere(entropies, masks), self.settings.entropy_share)
        return [
            batch | {CLASSES: with_high_entropy(batch[CLASSES], (values >= least) & mask)}
            for batch, values, mask in zip(mini_batch, entropies, masks, strict=True)
        ]

    def summed_loss(self, model: nn.Module, batch: dict) -> torch.Tensor:
        """Return the sum of the kept token losses of a batch, and add those of every class to `class_sums`."""
        tokens = self.loss_mask(batch).bool()
        classes = batch[CLASSES][:, : tokens.shape[1]][tokens]
        drawn = drawn_weights(batch, tokens)
        drawn = 1.0 if drawn is None else drawn
        weights = drawn * kept_tokens(classes, self.settings).float()
        total, losses = self.token_losses(model, batch, tokens, weights)
        table = classes.double()
        self.class_sums += torch.stack([table.sum(0), (drawn * losses).double() @ table])
        return total


def with_high_entropy(classes: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Return the classes of the text, (rows, at least completion, 6), and high entropy, (rows, completion): (rows, completion, 7)."""
    own = classes[:, : high.shape[1]]
    return torch.cat([own, high.unsqueeze(-1).to(own.dtype)], dim=-1)


class ShareRecorder(TrainerCallback):
    """Write which share of SDPO's loss, and of its tokens, each class has in a step, before a checkpoint of that state.

    folder: of the parts; fields: the run's; updates_per_step: optimizer updates per step.
    """

    trainer: PositionsTrainer

    def __init__(self, folder: Path, fields: dict[str, Any], updates_per_step: int) -> None:
        self.folder, self.fields, self.updates_per_step = folder, fields, updates_per_step

    def on_step_end(self, args, state, control, **_) -> None:
        """After the last update of a step, write its part."""
        if state.global_step % self.updates_per_step:
            return
        tokens, losses = self.trainer.accelerator.reduce(self.trainer.class_sums, "sum").tolist()
        self.trainer.class_sums = self.trainer.no_sums()
        if state.is_world_process_zero:
            self.write(state.global_step // self.updates_per_step - 1, tokens, losses)

    def write(self, step: int, tokens: list[float], losses: list[float]) -> None:
        """Write the part of a step; tokens, losses: sums per class."""
        frame = pandas.DataFrame({"token_class": TOKEN_CLASSES, "tokens": tokens, "loss": losses})
        whole = frame[["tokens", "loss"]].iloc[: len(POSITIONS)].sum()  # every token has one position
        frame["token_share"], frame["loss_share"] = (frame[name] / whole[name] for name in whole.index)
        numbers = {name: int(self.fields[name]) for name in DRAW}
        frame = frame.astype({"tokens": "int64"}).assign(step=step, **self.fields | numbers)
        path = self.folder / f"{KIND}-{step:06d}.parquet"
        write_table(path, frame[positions_schema().names], positions_schema(), durable=False)


def train_positions(job: TrainingJob, reward: Reward | None = None) -> None:
    """Train one run from its base or last checkpoint; write its checkpoints and records, and positions.parquet beside them.

    reward: replaces the grader.
    """
    settings, folder = job.settings, job.resume / RECORDS
    record = ShareRecorder(folder, job.run.fields(), settings.updates_per_step)
    train_distilled(PositionsTrainer, job, reward, settings=settings, record=record)
    if PartialState().is_main_process:
        frame = read_parts(folder, KIND, settings.steps)
        write_table(job.output / f"{KIND}.parquet", frame, positions_schema())
