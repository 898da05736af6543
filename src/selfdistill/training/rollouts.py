"""Shared by both on-policy trainers: sampling, and mini-batches that are trimmed and know their token count.

TRL's GRPO and SDPO trainers buffer and split a generation batch in the same way, so one mixin fits both.
"""

from typing import Any

import torch
from accelerate.utils import gather_object

from selfdistill.generation.transformers_backend import Drawn, sample_batch
from selfdistill.seeds import derive_seed
from selfdistill.training.distributed.exchange import (
    PROMPT_THEN_COMPLETION,
    deal,
    exchange,
    joined,
    rows_of,
)
from selfdistill.training.engine import SeededEngine
from selfdistill.training.packing import groups, row_lengths

COMPLETION_TENSORS = (
    "completion_ids",
    "completion_mask",
    "old_per_token_logps",
    "importance_sampling_ratio",
    "sampling_per_token_logps",
    "teacher_log_probs",
    "teacher_entropies",
    "contrast",
    "reference_log_probs",
    "base_share",
)


TEACHER_IDS, TEACHER_MASK = PROMPT_THEN_COMPLETION


def compact(batch: dict, rows: torch.Tensor | None = None) -> dict:
    """Return `batch` with the chosen rows only, without columns that are padding in all of them; rows: (rows,), bool.

    Prompts are left-padded, completions right-padded; teacher inputs are a prompt followed by the completion.
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
    for name in (name for name in batch if name.endswith(TEACHER_IDS)):
        mask = name.removesuffix(TEACHER_IDS) + TEACHER_MASK
        end = batch[name].shape[1] - full
        start = end - int(batch[mask][:, :end].sum(1).max())
        trimmed |= {part: batch[part][:, start : end + width] for part in (name, mask)}
    return trimmed


def cut_to_one_token(batch: dict, rows: torch.Tensor) -> dict:
    """Return `batch` with all rows but `rows`, (rows,), bool, masked up to one token of each prompt and of the completion."""
    cut, width = dict(batch), batch["completion_ids"].shape[1]
    kept = {"prompt_mask": [-1], "completion_mask": [0], "teacher_attention_mask": [-width - 1, -width]}
    for name in kept.keys() & batch.keys():
        short = torch.zeros_like(batch[name])
        short[:, kept[name]] = batch[name][:, kept[name]]
        cut[name] = torch.where(rows.unsqueeze(1), batch[name], short)
    return cut


def with_loss(batch: dict, rows: torch.Tensor, *, all_rows: bool = False) -> dict:
    """Return a micro-batch with those of its rows that have a loss, (rows,), bool; the first row, cut to one token, if none has.

    A pass without any row would have no graph, and the other processes would wait for its collective operations. all_rows:
    keep the other rows too, each cut to one token.
    """
    batch, kept = cut_to_one_token(batch, rows), rows.clone()
    kept[0] |= not rows.any()
    return compact(batch, None if all_rows else kept)


def rollout_weights(old: torch.Tensor, drawn: torch.Tensor, mask: torch.Tensor, clip: float) -> torch.Tensor:
    """Return the importance weights min(pi_old / pi_drawn, clip) of tokens that another engine drew, (rows, completion).

    old, drawn: log-probabilities; drawn may be NaN where the engine knows none. The weight is 1 there and outside of `mask`.
    """
    return ((old - drawn) * mask).nan_to_num(nan=0.0).exp().clamp(max=clip)


def by_length(mini_batch: list[dict], used: torch.Tensor, sizes: list[int] | None = None) -> list[dict]:
    """Return the micro-batches of a mini-batch with their rows sorted by length, so that each has little padding.

    used: (rows,), tokens in the passes; rows without any come first; sizes: rows of each micro-batch, if not those of
    `mini_batch`. The mean over the mini-batch's tokens does not change.
    """
    sizes = sizes or [len(batch["completion_ids"]) for batch in mini_batch]
    order = torch.argsort(used, stable=True).split(sizes)
    whole = joined(mini_batch)
    return [rows_of(whole, part) for part in order]


class RolloutMixin:
    """Mixin for a TRL trainer (list it first): seeded sampling and exact token means over each optimizer mini-batch.

    run_seed: the run's seed; rollout_is_clip: upper bound of the importance weights of vLLM's rollouts; micro_tokens: tokens
    of a pass, None for passes of as many rows as the arguments say.
    """

    run_seed: int
    rollout_is_clip: float
    micro_tokens: int | None = None

    @property
    def rollout_step(self) -> int:
        """Return the index of the current rollout batch, from 0."""
        updates = self.args.steps_per_generation // self.args.gradient_accumulation_steps
        return self.state.global_step // updates

    @property
    def draws_from_policy(self) -> bool:
        """Return whether sampling has the same log-probabilities as the loss: no top-k, no top-p, no mixed precision."""
        unfiltered = self.args.top_p == 1 and not self.args.top_k
        return unfiltered and self.accelerator.mixed_precision == "no"

    def sample_completions(self, prompt_ids: list[list[int]]) -> Drawn:
        """Return one completion per prompt from the current policy; the random stream depends on run seed and step only.

        Every process draws the completions of all processes, so that rollouts do not depend on the number of processes and
        all gather sharded weights at the same time. vLLM, which is for long responses, divides them between the processes
        (`request_seeds`).
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

    def seed_engine(self) -> None:
        """Have vLLM draw from the run's stream, and return the log-probabilities of what it draws."""
        generation = self.vllm_generation
        generation.llm, generation.logprobs = SeededEngine(generation.llm, self.request_seeds), 0

    def request_seeds(self, requests: int) -> list[int]:
        """Return the seed of each of this process's vLLM requests; rollouts of a step are numbered through all processes."""
        first = self.accelerator.process_index * requests
        rows = range(first, first + requests)
        return [derive_seed(self.run_seed, "rollout", self.rollout_step, row) for row in rows]

    def row_order(self, rows: int) -> torch.Tensor:
        """Return the order in which a step's rollouts are split into mini-batches, (rows,)."""
        return torch.arange(rows)

    def share_out(self, micro_batches: list[dict]) -> list[dict]:
        """Return this process's micro-batches after redistribution: all mini-batches have the rows that one process gives them.

        TRL has split each process's own rows. Here rollouts are numbered as on one process (the rows of process 0, then those
        of process 1, ..., each in the order of sampling), split as one process would, and dealt out to the processes.
        """
        accelerator, rows = self.accelerator, sum(len(batch["completion_ids"]) for batch in micro_batches)
        local = joined(micro_batches)
        processes, index = accelerator.num_processes, torch.arange(rows * accelerator.num_processes)
        # `gathered`: number of the rollout in each gathered row, because every process shuffled its own rows by `row_order`;
        # `place`, its inverse: the gathered row of each rollout
        gathered = index.view(processes, rows)[:, self.row_order(rows)].flatten()
        place = torch.argsort(gathered)
        used = accelerator.gather(self.pass_tokens(local)).cpu()[place]
        updates = self.args.steps_per_generation // self.args.gradient_accumulation_steps
        mine = deal(used, self.row_order(len(index)), updates, accelerator.process_index, processes)
        local = exchange(accelerator, local, place[mine], self._tokenizer.pad_token_id)
        size = rows // len(micro_batches)
        return [rows_of(local, slice(start, start + size)) for start in range(0, rows, size)]

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """Return the next micro-batch from TRL's buffer; new rollouts are trimmed, counted and get old log-probabilities."""
        before = self._buffered_inputs
        # GRPO shuffles a batch with the global random state: seed it by name, and restore it afterwards
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.run_seed, "mini-batches", self.rollout_step))
            inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is before:  # no new rollouts: this buffer is finished already
            return inputs
        window = self.args.gradient_accumulation_steps
        batches = self._buffered_inputs
        if self.accelerator.num_processes > 1:
            batches = self.share_out(batches)
        self._buffered_inputs = []
        # each window of micro-batches is one optimizer mini-batch; all but the first follow an update of the policy
        for start in range(0, len(batches), window):
            passes = self._finish_mini_batch(batches[start : start + window], moved=start > 0)
            # the trainer counts `window` micro-steps; those without a pass come first, as the last one must reduce gradients
            self._buffered_inputs += [{}] * (window - len(passes)) + passes
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _finish_mini_batch(self, mini_batch: list[dict], moved: bool) -> list[dict]:
        """Return the micro-batches of one optimizer mini-batch: sorted, trimmed, with its token count (`loss_tokens`).

        moved: whether the policy is updated between the rollouts and this mini-batch; then old log-probabilities are added.
        If not, the importance ratio is 1. Rollouts of vLLM also get importance weights.
        """
        used = torch.cat([self.loss_mask(batch).sum(1) for batch in mini_batch])
        tokens = self.accelerator.gather(used.sum()).sum()
        if self.accelerator.num_processes > 1 or self.micro_tokens:
            # no process shall wait for another's long row while its own row has no loss: these come first on all
            used = torch.cat([self.pass_tokens(batch) for batch in mini_batch])
        sizes = None
        if self.micro_tokens:
            lengths = torch.cat([row_lengths(batch) for batch in mini_batch])
            sizes = groups(self.accelerator, lengths, used, self.micro_tokens)
        mini_batch = by_length(mini_batch, used, sizes)
        mini_batch = [compact(batch) | {"loss_tokens": tokens} for batch in mini_batch]
        for batch in mini_batch if moved or self.use_vllm else ():
            self.add_old_log_probs(batch, moved)
        return mini_batch

    def add_old_log_probs(self, batch: dict, moved: bool) -> None:
        """Add to a micro-batch the log-probabilities at rollout time if the policy has `moved`, and vLLM's importance weights."""
        old = self.old_log_probs(batch)
        if self.use_vllm:
            parts = (batch["sampling_per_token_logps"], batch["completion_mask"])
            batch["importance_sampling_ratio"] = rollout_weights(old, *parts, self.rollout_is_clip)
        if moved:
            batch["old_per_token_logps"] = old

    def loss_mask(self, batch: dict) -> torch.Tensor:
        """Return the mask of completion tokens in the loss, (rows, completion)."""
        return batch["completion_mask"]

    def has_loss(self, batch: dict) -> torch.Tensor:
        """Return whether a row has a loss, (rows,), bool; its gradient is 0 if not."""
        raise NotImplementedError

    def pass_tokens(self, batch: dict) -> torch.Tensor:
        """Return the completion tokens of each row that a pass runs, (rows,): 0 without loss."""
        return self.loss_mask(batch).sum(1) * self.has_loss(batch)

    def old_log_probs(self, batch: dict) -> torch.Tensor:
        """Return the log-probabilities of the completion under the policy at rollout time, (rows, completion).

        Those of sampling if the policy itself drew the tokens, else those of a forward pass before the first update of the
        step; 0 in rows without loss.
        """
        drawn = batch.get("sampling_per_token_logps")
        if drawn is not None and not self.use_vllm:
            return drawn
        old = torch.zeros(batch["completion_mask"].shape, device=self.accelerator.device)
        cut = cut_to_one_token(batch, self.has_loss(batch))
        for rows in self.old_passes(batch):
            log_probs = self.current_log_probs(compact(cut, rows))
            old[rows, : log_probs.shape[1]] = log_probs
        return old

    def old_passes(self, batch: dict) -> list[torch.Tensor]:
        """Return the rows, (rows,), bool, of each pass of the old policy: all with a loss at once.

        On several processes each row alone, without padding, if it has a loss on any of them: all run the same passes. With
        `micro_tokens` a micro-batch is one pass.
        """
        rows, processes = self.has_loss(batch), self.accelerator.num_processes
        if processes == 1:
            return [rows] if rows.any() else []
        if self.micro_tokens:
            somewhere, kept = self.accelerator.gather(rows.any().long()).any(), rows.clone()
            kept[0] |= not rows.any()
            return [kept] if somewhere else []
        rows = self.accelerator.gather(rows.long()).view(processes, -1).any(0)
        return list(torch.eye(len(rows), dtype=torch.bool, device=rows.device)[rows])

    def current_log_probs(self, batch: dict) -> torch.Tensor:
        """Return the current policy's log-probabilities of the completion, (rows, completion), without gradient."""
        raise NotImplementedError

    def no_pass(self) -> torch.Tensor:
        """Return the loss of a micro-step without rows: 0, without a pass of the model."""
        return torch.zeros((), device=self.accelerator.device, requires_grad=True)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write no model card: the manifest says how a checkpoint was made."""
