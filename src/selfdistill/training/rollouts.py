"""What both on-policy trainers share: sampling, and mini-batches that carry their own width and token count.

`RolloutMixin` stands before a TRL trainer in the class list (GRPO and SDPO buffer and split a generation
batch in the same way).
"""

import torch
from accelerate.utils import gather_object

from selfdistill.generation.transformers_backend import Drawn, sample_batch
from selfdistill.seeds import derive_seed
from selfdistill.training.distributed.exchange import deal, exchange, joined, rows_of

COMPLETION_TENSORS = (
    "completion_ids",
    "completion_mask",
    "old_per_token_logps",
    "importance_sampling_ratio",
    "sampling_per_token_logps",
)


def compact(batch: dict, rows: torch.Tensor | None = None) -> dict:
    """`batch` with only the given rows (bool, (rows,)) and without columns that are padding in all of them.

    Prompts are padded on the left, completions on the right; teacher inputs are a prompt followed by the
    completion.
    """
    if rows is not None:
        count = len(rows)
        batch = {
            k: v[rows] if torch.is_tensor(v) and v.ndim and len(v) == count else v for k, v in batch.items()
        }
    full = batch["completion_ids"].shape[1]
    width = max(int(batch["completion_mask"].sum(1).max()), 1)
    prompt = int(batch["prompt_mask"].sum(1).max())
    trimmed = dict(batch)
    for name in COMPLETION_TENSORS:
        if name in batch and batch[name].shape[1:] == (full,):
            trimmed[name] = batch[name][:, :width]
    for name in ("prompt_ids", "prompt_mask"):
        trimmed[name] = batch[name][:, -prompt:]
    if "teacher_input_ids" in batch:
        end = batch["teacher_input_ids"].shape[1] - full
        start = end - int(batch["teacher_attention_mask"][:, :end].sum(1).max())
        for name in ("teacher_input_ids", "teacher_attention_mask"):
            trimmed[name] = batch[name][:, start : end + width]
    return trimmed


def by_length(mini_batch: list[dict], used: torch.Tensor) -> list[dict]:
    """The rows of a mini-batch's micro-batches, shared out anew in order of completion length, so that little
    is padding.

    used: tokens in the loss per row; rows without any come first, together. The mini-batch's mean over tokens
    stays what it is.
    """
    rows = [len(batch["completion_ids"]) for batch in mini_batch]
    order = torch.argsort(used, stable=True).split(rows)
    whole = joined(mini_batch)
    return [rows_of(whole, part) for part in order]


class RolloutMixin:
    """Seeded sampling on the transformers path, and exact token means over each optimizer mini-batch."""

    run_seed: int

    @property
    def rollout_step(self) -> int:
        """Index of the current rollout batch (0-based)."""
        updates = self.args.steps_per_generation // self.args.gradient_accumulation_steps
        return self.state.global_step // updates

    @property
    def draws_from_policy(self) -> bool:
        """Whether the log-probabilities with which tokens are drawn are the policy's own, as the loss computes them."""
        unfiltered = self.args.top_p == 1 and not self.args.top_k
        return unfiltered and self.accelerator.mixed_precision == "no"

    def sample_completions(self, prompt_ids: list[list[int]]) -> Drawn:
        """One completion per prompt from the current policy; the stream depends on the run's seed and the
        step only.

        Every process draws the completions of all of them, so that rollouts do not depend on their number and
        sharded weights are gathered in step; vLLM, for long responses, shares them out.
        """
        device, own = self.accelerator.device, len(prompt_ids)
        seed = derive_seed(self.run_seed, "rollout", self.rollout_step)
        drawn = sample_batch(
            self.accelerator.unwrap_model(self.model_wrapped),
            gather_object(prompt_ids),
            max_new_tokens=self.max_completion_length,
            temperature=self.args.temperature,
            top_p=self.args.top_p,
            top_k=self.args.top_k,
            eos_token_ids=self.eos_token_ids,
            pad_token_id=self._tokenizer.pad_token_id,
            generator=torch.Generator(device=device).manual_seed(seed),
        )
        first = self.accelerator.process_index * own
        return Drawn(*(part[first : first + own] for part in drawn))

    def row_order(self, rows: int) -> torch.Tensor:
        """Order of a step's rollouts in which they are split into mini-batches."""
        return torch.arange(rows)

    def share_out(self, micro_batches: list[dict]) -> list[dict]:
        """A fresh buffer with the rows of all processes dealt out anew, so that the mini-batches are those of
        one process.
        """
        accelerator, rows = self.accelerator, sum(len(batch["completion_ids"]) for batch in micro_batches)
        local = joined(micro_batches)
        processes, index = accelerator.num_processes, torch.arange(rows * accelerator.num_processes)
        # which rollout stands at each place of what is gathered (every process has shuffled its own), and the inverse
        gathered = index.view(processes, rows)[:, self.row_order(rows)].flatten()
        place = torch.argsort(gathered)
        used = accelerator.gather(self.loss_mask(local).sum(1)).cpu()[place]
        updates = self.args.steps_per_generation // self.args.gradient_accumulation_steps
        mine = deal(used, self.row_order(len(index)), updates, accelerator.process_index, processes)
        local = exchange(accelerator, local, place[mine], self._tokenizer.pad_token_id)
        size = rows // len(micro_batches)
        return [rows_of(local, slice(start, start + size)) for start in range(0, rows, size)]

    def _prepare_inputs(self, generation_batch):
        """TRL's buffering; a freshly generated buffer is trimmed, counted and given its old
        log-probabilities.
        """
        before = self._buffered_inputs
        with torch.random.fork_rng(
            devices=[]
        ):  # GRPO shuffles a batch with the global stream: give it a named one
            torch.manual_seed(derive_seed(self.run_seed, "mini-batches", self.rollout_step))
            inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is before:
            return inputs
        window = self.args.gradient_accumulation_steps
        batches = self._buffered_inputs
        if self.accelerator.num_processes > 1:
            batches = self.share_out(batches)
        self._buffered_inputs = []
        for start in range(0, len(batches), window):
            self._buffered_inputs += self._finish_mini_batch(batches[start : start + window], moved=start > 0)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _finish_mini_batch(self, mini_batch: list[dict], moved: bool) -> list[dict]:
        """Micro-batches of one optimizer mini-batch: sorted, trimmed, with the mini-batch's token count and
        old log-probabilities.

        moved: whether the policy will have been updated since the rollouts. If not, the ratio is one.
        """
        used = torch.cat([self.loss_mask(batch).sum(1) for batch in mini_batch])
        tokens = self.accelerator.gather(used.sum()).sum()
        mini_batch = by_length(mini_batch, used)
        mini_batch = [compact(batch) | {"loss_tokens": tokens} for batch in mini_batch]
        if moved:
            for batch in mini_batch:
                if "old_per_token_logps" not in batch:
                    batch["old_per_token_logps"] = self.old_log_probs(batch)
        return mini_batch

    def loss_mask(self, batch: dict) -> torch.Tensor:
        """Which completion tokens enter the loss, (rows, completion tokens)."""
        return batch["completion_mask"]

    def old_log_probs(self, batch: dict) -> torch.Tensor:
        """Log-probabilities of the completion under the policy at rollout time, (rows, completion tokens): those with
        which it was drawn, where these are known, else of a forward pass (before the first update of the step).
        """
        drawn = batch.get("sampling_per_token_logps")
        return self.current_log_probs(batch) if drawn is None else drawn

    def current_log_probs(self, batch: dict) -> torch.Tensor:
        """Log-probabilities of the completion under the policy as it is, without gradient."""
        raise NotImplementedError

    def create_model_card(self, *args, **kwargs) -> None:
        """No model card beside every checkpoint: the manifest says how it was made."""
