"""vLLM's engine beside the trainer, with a random stream of the run's own.

TRL sends all requests with the same sampling parameters and no seed. vLLM then draws from a stream that does not depend on the
run's seed. One seed for all would give the rollouts of a prompt the same tokens, so every request gets its own.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm import LLM, RequestOutput, SamplingParams


class SeededEngine:
    """A `vllm.LLM` whose requests are seeded; it keeps the log-probabilities of the last draws.

    llm: the engine, which answers everything else; seeds: returns the seeds of a number of requests.
    """

    def __init__(self, llm: "LLM", seeds: Callable[[int], list[int]]) -> None:
        self.llm, self.seeds = llm, seeds
        self.drawn_log_probs: list[list[float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.llm, name)

    def generate(
        self, prompts: Sequence[Any], sampling_params: "SamplingParams", **options: Any
    ) -> list["RequestOutput"]:
        """Return the engine's output for every prompt; sampling_params: of all of them."""
        parameters = [seeded(sampling_params, seed) for seed in self.seeds(len(prompts))]
        outputs = self.llm.generate(prompts, sampling_params=parameters, **options)
        self.drawn_log_probs = [drawn_log_probs(output) for output in outputs]
        return outputs


def seeded(parameters: "SamplingParams", seed: int) -> "SamplingParams":
    """Return a copy of `parameters` with its own seed."""
    copy = parameters.clone()
    copy.seed = seed
    return copy


def drawn_log_probs(output: "RequestOutput") -> list[float]:
    """Return the log-probabilities of the drawn tokens of a request with one response; NaN where vLLM gives none."""
    [response] = output.outputs
    pairs = zip(response.token_ids, response.logprobs or [{}] * len(response.token_ids), strict=True)
    return [step[token].logprob if token in step else math.nan for token, step in pairs]
