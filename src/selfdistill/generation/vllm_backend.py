"""Sampling with vLLM's offline engine: the backend of the studies that run on GPUs (`backend: vllm` in a study file).

Prompt token ids, ends of responses, banned words and detokenization are those of the transformers backend; only the random
stream differs. Every response is one request. Its seed is derived from the prompt, the number of equal prompts before it in the
call, and the sample's index, so it depends neither on the order of prompts nor on the batch. The last bits of logits do depend
on the batch (kernels, bfloat16): equal calls give equal samples, but a prompt in another batch can, rarely, get another token at
a near-tie.

vLLM is imported only when an engine starts. An engine keeps its share of the device memory until it is closed, so a process has
one at a time: starting an engine for the next checkpoint closes the previous one.
"""

import gc
import importlib.util
import logging
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from selfdistill.generation.interventions import intervention_of
from selfdistill.generation.protocol import ENGINE_SHARE, Completion, Sampling
from selfdistill.models.engine_class import keep_from_engine
from selfdistill.models.finite import NotFinite
from selfdistill.models.loading import load_tokenizer
from selfdistill.models.prompts import prompt_ids as tokenize_prompts
from selfdistill.models.response_end import end_token_ids, read_generation_config, response_room
from selfdistill.seeds import derive_seed
from selfdistill.vocabulary.interventions import BAN, NONE

if TYPE_CHECKING:
    from vllm import LLM

logger = logging.getLogger(__name__)

LENGTH_STEP = 4096
"""Engine lengths are rounded up to a multiple of this (tokens), so that a slightly longer prompt needs no new engine."""


def require_vllm() -> None:
    """Raise ModuleNotFoundError, which says what to install, if vLLM is missing."""
    if importlib.util.find_spec("vllm") is None:
        raise ModuleNotFoundError(
            "generation backend vllm: the package vllm is not installed. On a GPU machine, install envs/requirements-gpu.txt; "
            "`make test-vllm` tests this backend on a CPU in a separate environment.",
            name="vllm",
        )


def request_seeds(prompts: Sequence[Sequence[int]], samples: int, seed: int) -> list[list[int]]:
    """Return one seed per prompt and sample, derived from `seed`, the prompt's tokens, and its number among equal prompts.

    >>> a, b = request_seeds([[1, 2], [3]], 2, seed=0)
    >>> request_seeds([[3], [1, 2]], 2, seed=0) == [b, a]
    True
    >>> first, second = request_seeds([[3], [3]], 2, seed=0)
    >>> len({*first, *second})
    4
    """
    seen: Counter[str] = Counter()
    seeds = []
    for prompt in prompts:
        text = " ".join(map(str, prompt))
        seeds.append([derive_seed(seed, "vllm", text, seen[text], index) for index in range(samples)])
        seen[text] += 1
    return seeds


def engine_length(longest_prompt: int, max_new_tokens: int, limit: int) -> int:
    """Return the engine's length in tokens (prompt and response): rounded up to LENGTH_STEP, at most the model's `limit`.

    Raise ValueError if a prompt leaves no token for a response.
    """
    needed = longest_prompt + response_room(longest_prompt, max_new_tokens, limit)
    return min(-(-needed // LENGTH_STEP) * LENGTH_STEP, limit)


def parallel_size(devices: int, heads: int) -> int:
    """Return the tensor-parallel size: the largest number of `devices` that divides the attention `heads`; 1 without a GPU.

    >>> [parallel_size(devices, heads) for devices, heads in ((0, 16), (1, 28), (4, 28), (8, 28))]
    [1, 1, 4, 7]
    """
    return max(size for size in range(1, max(devices, 1) + 1) if heads % size == 0)


def sampling_arguments(
    sampling: Sampling,
    *,
    seed: int,
    prompt_tokens: int,
    max_model_len: int,
    end_token_ids: Sequence[int],
    allowed_token_ids: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Return the keyword arguments of vllm.SamplingParams for one response.

    max_model_len: tokens of the engine, which limit the response; allowed_token_ids: the vocabulary without the banned words,
    None for all of it.
    """
    arguments = {
        "n": 1,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,  # 0 is off for vLLM too
        "max_tokens": response_room(prompt_tokens, sampling.max_new_tokens, max_model_len),
        "seed": seed,
        "stop_token_ids": list(end_token_ids),
        "detokenize": False,
    }
    if allowed_token_ids is not None:
        arguments["allowed_token_ids"] = list(allowed_token_ids)
    return arguments


class VllmGenerator:
    """A `protocol.Generator` for a Hugging Face folder; the first call of `generate` starts its engine.

    gpu_memory_utilization: share of each device's memory for weights and cache; dtype: default float32 on a CPU, and on a GPU
    the folder's own (vLLM replaces float32 by a 16-bit type).
    """

    open: ClassVar["VllmGenerator | None"] = None  # the generator with this process's engine
    engine: "LLM | None"

    def __init__(
        self,
        folder: Path,
        thinking: str,
        gpu_memory_utilization: float = ENGINE_SHARE,
        dtype: str | None = None,
    ) -> None:
        from transformers import AutoConfig

        self.folder, self.thinking, self.gpu_memory_utilization = folder, thinking, gpu_memory_utilization
        self.tokenizer = load_tokenizer(folder)
        self.end_token_ids = end_token_ids(read_generation_config(folder), self.tokenizer)
        self.config = AutoConfig.from_pretrained(folder).get_text_config()
        self.devices = torch.cuda.device_count()  # honours CUDA_VISIBLE_DEVICES
        self.dtype = dtype or ("auto" if self.devices else "float32")
        self.engine, self.max_model_len = None, 0

    @classmethod
    def load(
        cls, folder: str | Path, thinking: str, gpu_memory_utilization: float = ENGINE_SHARE
    ) -> "VllmGenerator":
        """Return a generator for a Hugging Face folder. Raise ModuleNotFoundError if vLLM is missing."""
        require_vllm()
        return cls(Path(folder), thinking, gpu_memory_utilization)

    def generate(
        self, user_turns: list[str], samples: int, sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Return `samples` completions per user turn.

        A response is truncated if it reached max_new_tokens or the model's last position. Raise ValueError for a prompt that
        fills all positions of the model, for a banned word without a token, and for an intervention other than a ban.
        """
        prompts = tokenize_prompts(self.tokenizer, user_turns, self.thinking)
        if not prompts or samples < 1:
            return [[] for _ in prompts]
        allowed = self._allowed_ids(sampling)
        self._start(max(map(len, prompts)), sampling.max_new_tokens)
        seeds = request_seeds(prompts, samples, seed)
        outputs = self._run(
            [ids for ids in prompts for _ in range(samples)],
            [
                sampling_arguments(
                    sampling,
                    seed=request_seed,
                    prompt_tokens=len(ids),
                    max_model_len=self.max_model_len,
                    end_token_ids=self.end_token_ids,
                    allowed_token_ids=allowed,
                )
                for ids, group in zip(prompts, seeds, strict=True)
                for request_seed in group
            ],
        )
        texts = self.tokenizer.batch_decode([ids for ids, _ in outputs], skip_special_tokens=True)
        completions = [Completion(ids, text, cut) for (ids, cut), text in zip(outputs, texts, strict=True)]
        return [completions[i : i + samples] for i in range(0, len(completions), samples)]

    def _allowed_ids(self, sampling: Sampling) -> list[int] | None:
        """Return all token ids but the banned ones, or None if nothing is banned."""
        if sampling.intervention not in (NONE, BAN):
            raise ValueError(
                f"the backend vllm has no intervention {sampling.intervention}; allowed: {NONE}, {BAN}"
            )
        banned = intervention_of(sampling, self.tokenizer).banned
        if banned is None:
            return None
        found = set(banned.tolist())
        return [token for token in range(self.config.vocab_size) if token not in found]

    def _run(
        self, rows: Sequence[list[int]], arguments: Sequence[dict[str, Any]]
    ) -> list[tuple[tuple[int, ...], bool]]:
        """Return (token ids, whether the length limit ended them) per request, in order."""
        from vllm import SamplingParams

        outputs = self.engine.generate(
            [{"prompt_token_ids": ids} for ids in rows],
            [SamplingParams(**each) for each in arguments],
            use_tqdm=False,
        )
        firsts = [output.outputs[0] for output in outputs]
        return [(tuple(first.token_ids), first.finish_reason == "length") for first in firsts]

    def _start(self, longest_prompt: int, max_new_tokens: int) -> None:
        """Start an engine for such prompts and responses, unless this generator's is long enough; close the old one."""
        limit = self.config.max_position_embeddings
        length = engine_length(longest_prompt, max_new_tokens, limit)
        if longest_prompt + max_new_tokens > limit:
            logger.warning(
                "%d prompt tokens and %d new tokens exceed the model's %d positions: responses that reach the limit are truncated",
                longest_prompt,
                max_new_tokens,
                limit,
            )
        if self.engine is not None and length <= self.max_model_len:
            return
        if VllmGenerator.open is not None:
            VllmGenerator.open.close()
        self.engine, self.max_model_len, VllmGenerator.open = self._engine(length), length, self
        self._check_logits()

    def _engine(self, max_model_len: int) -> "LLM":
        """Return a new engine in this process: with engine processes, vLLM's scheduling is not deterministic."""
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        require_vllm()
        from vllm import LLM

        keep_from_engine(self.config)
        return LLM(
            model=str(self.folder),
            skip_tokenizer_init=True,  # token ids in, token ids out
            generation_config="vllm",  # not the model's own sampling defaults
            dtype=self.dtype,
            max_model_len=max_model_len,
            tensor_parallel_size=parallel_size(self.devices, self.config.num_attention_heads),
            gpu_memory_utilization=self.gpu_memory_utilization,
            enforce_eager=not self.devices,  # compiling pays on a GPU only
            seed=0,
        )

    def _check_logits(self) -> None:
        """Raise NotFinite if one token's logits, which need all matrices, are not finite: vLLM would draw from them without a word."""
        from vllm import SamplingParams

        asked = SamplingParams(max_tokens=1, logprobs=0, detokenize=False)
        token = {"prompt_token_ids": [self.end_token_ids[0]]}
        [output] = self.engine.generate([token], asked, use_tqdm=False)
        [drawn] = output.outputs[0].logprobs
        if not all(math.isfinite(entry.logprob) for entry in drawn.values()):
            raise NotFinite("the logits are not finite")

    def close(self) -> None:
        """Shut the engine down and free its memory; the next call of `generate` starts another."""
        if self.engine is None:
            return
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        self.engine.llm_engine.engine_core.shutdown()
        self.engine, self.max_model_len, VllmGenerator.open = None, 0, None
        gc.collect()
        cleanup_dist_env_and_memory()
