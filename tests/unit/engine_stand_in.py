"""A stand-in for vLLM's engine beside the trainer: it draws from the synchronised weights, one token at a time, and says
of every token a log-probability that is off by `error`, as a kernel of another precision would.
"""

import copy
from types import SimpleNamespace

import torch
from transformers import AutoModelForCausalLM
from trl.generation import vllm_generation


class Parameters:
    """`vllm.SamplingParams`, as far as it is read."""

    def __init__(self, **fields) -> None:
        self.seed = None
        vars(self).update(fields)

    def clone(self) -> "Parameters":
        """A copy."""
        return copy.deepcopy(self)


class Engine:
    """`vllm.LLM`, as far as TRL uses it; requests without a seed draw from the engine's own stream."""

    def __init__(self, model: str, seed: int, **_) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(model)
        self.stream = torch.Generator().manual_seed(seed)
        runner = SimpleNamespace(model=self)
        self.llm_engine = SimpleNamespace(
            model_executor=SimpleNamespace(driver_worker=SimpleNamespace(model_runner=runner))
        )

    def load_weights(self, named) -> None:
        """Take over weights from the trainer."""
        for name, weight in named:
            self.model.get_parameter(name).data.copy_(weight)

    def reset_prefix_cache(self) -> None:
        """There is none."""

    @torch.no_grad()
    def generate(self, prompts, sampling_params, use_tqdm) -> list:
        """One response per prompt; sampling_params: of each, or of all."""
        if not isinstance(sampling_params, list):
            sampling_params = [sampling_params] * len(prompts)
        return [
            self.response(prompt["prompt_token_ids"], parameters)
            for prompt, parameters in zip(prompts, sampling_params, strict=True)
        ]

    def response(self, prompt: list[int], parameters: Parameters) -> SimpleNamespace:
        """A request's output."""
        seed = parameters.seed
        stream = self.stream if seed is None else torch.Generator().manual_seed(seed)
        ids, steps = list(prompt), []
        while len(steps) < parameters.max_tokens and not (steps and ids[-1] in parameters.stop_token_ids):
            log_probs = self.model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            ids.append(int(torch.multinomial(log_probs.exp(), 1, generator=stream)))
            said = float(log_probs[ids[-1]]) + float(error(torch.tensor(ids[-1])))
            steps.append({ids[-1]: SimpleNamespace(logprob=said, rank=1)})
        drawn = SimpleNamespace(
            token_ids=ids[len(prompt) :], logprobs=None if parameters.logprobs is None else steps
        )
        return SimpleNamespace(prompt_token_ids=prompt, outputs=[drawn])


def error(tokens: torch.Tensor) -> torch.Tensor:
    """By how much the engine's log-probability of a token is off: from -1 to 1."""
    return (tokens % 5 - 2) / 2


def install(monkeypatch) -> None:
    """Have TRL use the stand-in, without the environment variables that it sets for vLLM."""
    for name, value in {
        "is_vllm_available": lambda: True,
        "LLM": Engine,
        "SamplingParams": Parameters,
        "os": SimpleNamespace(environ={}),
        "ensure_master_addr_port": lambda: None,
    }.items():
        monkeypatch.setattr(vllm_generation, name, value, raising=False)
