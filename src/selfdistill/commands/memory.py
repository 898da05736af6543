"""The memory that a study's jobs need on each GPU, computed from the shapes of its models; nothing here is measured.

Used by `plan` and `doctor`. A training card holds, in bytes, of a model with P parameters (layers L, width d, feed-forward width f,
vocabulary V) shared out to n cards, and T tokens in its largest pass (its rows, each the longest; or `micro_tokens`):

- weights 4 P / n, Adam's two moments 8 P / n, gradients 4 P / n, all float32 (Rajbhandari et al. 2020, ZeRO, section 3.1);
  gradients whole, 4 P, if they are summed before they are shared out (`sync_each_batch` off);
- under checkpointing, the inputs of all layers, 2 L d T, and one layer being run again (Korthikanti et al. 2022, sections 4.1 and 5,
  without its attention matrix, which the kernels do not keep): norms, attention and feed-forward part, `layer_bytes`;
- what lies around the head (`head_bytes`), and for SDPO the teacher's weights, 4 P / n. Methods with more passes of the teacher have the same
  weights and head in them, and chunks of logits of the same size in all; the hidden states of each pass, 2 d T, are not counted;
- vLLM's share of the card while it is awake. It comes on top of what the trainer holds then: weights, Adam's moments, teacher.

The engine's cache has room for what its share leaves beside the weights in bfloat16, at 2 x layers x key-value width x 2 bytes per token
(Kwon et al. 2023, section 3.1). Not all of it is there at the same moment, and what an
optimizer's update needs is not counted. On an H200, two trainings took 1.04 and 1.01 times their sums (benchmarks/gpu/h200.md).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from selfdistill.commands.costs import parameters
from selfdistill.generation.protocol import ENGINE_SHARE
from selfdistill.study.feasibility.training import rows_per_update
from selfdistill.study.methods import METHODS
from selfdistill.study.methods.base import RolloutSettings
from selfdistill.study.models import OrganismBase, RandomBase
from selfdistill.study.study import Study
from selfdistill.vocabulary.runs import Run

GIB = 2**30
CARDS = {"H100": 79.0, "H200": 140.0, "B200": 178.0}
"""GiB that programs can use on cards sold with 80, 141 and 192 GB."""
ENGINE_OVERHEAD = 2.5
"""GiB of vLLM beside weights and cache: activations, CUDA graphs (assumed)."""
ASLEEP = 1.3
"""GiB that a sleeping engine keeps (assumed)."""
MARGIN = 1.5
"""GiB that must stay free: CUDA context, NCCL's buffers, fragmentation (assumed)."""
QUESTION = 2048
"""Tokens of the longest question of section 3 and of the benchmarks (assumed: what the paper's trainings allow)."""
SHARDING = ("fsdp", "zero3")
"""Configurations of config/accelerate that share out weights, gradients and optimizer; the others copy them."""


@dataclass(frozen=True)
class Shape:
    """A model's layers, widths (hidden, queries, keys and values, feed-forward) and vocabulary; tied: one matrix is embedding and head."""

    layers: int
    width: int
    queries: int
    keys: int
    feed_forward: int
    vocabulary: int
    tied: bool = False

    @property
    def layer(self) -> int:
        """Return the parameters of a layer, without norms and biases."""
        return self.width * (2 * self.queries + 2 * self.keys + 3 * self.feed_forward)

    @property
    def head(self) -> int:
        """Return the parameters of the output head."""
        return self.vocabulary * self.width

    @property
    def ends(self) -> int:
        """Return the parameters of embedding and head."""
        return self.head * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """Return the number of parameters."""
        return self.layers * self.layer + self.ends

    @property
    def cache_bytes(self) -> int:
        """Return the bytes of keys and values per token, in bfloat16."""
        return 2 * self.layers * self.keys * 2

    @property
    def layer_bytes(self) -> int:
        """Return the bytes per token that the backward pass of a layer needs, in bfloat16: two norms, attention, gated feed-forward part."""
        attention = self.width + 2 * self.queries + 2 * self.keys
        return 2 * (2 * self.width + attention + self.width + 4 * self.feed_forward)


SHAPES = {
    r"qwen3-8b": Shape(36, 4096, 4096, 1024, 12288, 151936),
    r"qwen3-1\.7b": Shape(28, 2048, 2048, 1024, 6144, 151936, tied=True),
    r"deepseek.*7b": Shape(28, 3584, 3584, 512, 18944, 152064),
    r"olmo-3-7b": Shape(32, 4096, 4096, 4096, 11008, 100278),
}
"""Pattern of a repository's name -> shape, from the config.json of its model."""


def shape_of(study: Study, base: str) -> Shape:
    """Return the shape of a base; for released weights without an entry in SHAPES, the usual one of their size."""
    spec = study.root(base)
    if isinstance(spec, OrganismBase):
        width = spec.hidden_size
        return Shape(spec.layers, width, width, width, spec.intermediate_size, 0)
    if isinstance(spec, RandomBase):
        queries, keys = spec.heads * spec.head_dim, spec.key_heads * spec.head_dim
        widths = (spec.hidden_size, queries, keys, spec.intermediate_size)
        return Shape(spec.layers, *widths, spec.vocabulary_size, tied=True)
    name = getattr(spec, "repo_id", base).lower()
    found = next((shape for pattern, shape in SHAPES.items() if re.search(pattern, name)), None)
    return found or usual_shape(parameters(study, base))


def usual_shape(count: float) -> Shape:
    """Return a shape of `count` parameters, of width 128 L and P = 12 L d^2, without grouped queries and embeddings."""
    layers = round((count / (12 * 128**2)) ** (1 / 3))
    width = 128 * layers
    return Shape(layers, width, width, width, round(8 / 3 * width), 0)


@dataclass(frozen=True)
class Training:
    """What decides the memory of a training job's card.

    tokens: of the longest row, or of a pass if that may be more (`micro_tokens`); rows: per forward pass; cards: that share weights,
    gradients and optimizer; share: of the card for vLLM while it is awake (0: none); sleep: it gives the memory back during updates;
    sync_each_batch: gradients are shared out after every forward and backward pass.
    """

    shape: Shape
    tokens: int
    rows: int = 1
    cards: int = 1
    teacher: bool = False
    share: float = 0.0
    sleep: bool = False
    sync_each_batch: bool = True

    def states(self) -> dict[str, float]:
        """Return the GiB that stay on a card, by what they are."""
        own = self.shape.parameters / self.cards / GIB
        return {"weights": 4 * own, "optimizer": 8 * own, "teacher": 4 * own * self.teacher}

    def passes(self) -> dict[str, float]:
        """Return the GiB of an update beside `states`, by what they are; an engine counts in `updates`."""
        shape, tokens = self.shape, self.rows * self.tokens
        shared = self.cards if self.sync_each_batch else 1
        parts = {
            "gradients": 4 * shape.parameters / shared,
            "activations": 2 * shape.layers * shape.width * tokens,
            "layer": shape.layer_bytes * tokens + 2 * shape.layer * (self.cards > 1),
            "head": self.head_bytes(),
            # on one card, autocast keeps the weights in bfloat16 beside those in float32
            "copies": 2 * shape.parameters * (self.cards == 1),
        }
        return {name: size / GIB for name, size in parts.items()}

    def head_bytes(self) -> float:
        """Return the bytes around the head, in bfloat16 where it says nothing else.

        Of each model, embedding and head as gathered from the cards; the gradient of the head. The loss of SDPO sums that gradient in float32
        and has a chunk of logits of the same size (`training.loss.chunked`).
        """
        gathered = 2 * self.shape.ends * (self.cards > 1)
        loss = 8 * self.shape.head + gathered if self.teacher else 0
        return gathered + 2 * self.shape.head + loss

    def updates(self, card: float) -> float:
        """Return the GiB that a card of `card` GiB needs during updates."""
        engine = ASLEEP * (self.share > 0) if self.sleep else self.share * card
        return sum(self.states().values()) + sum(self.passes().values()) + engine

    def rollouts(self, card: float) -> float:
        """Return the GiB that a card of `card` GiB needs during rollouts."""
        return sum(self.states().values()) + self.share * card

    def needs(self, card: float) -> float:
        """Return the GiB that a card of `card` GiB needs."""
        return max(self.updates(card), self.rollouts(card))

    def most_share(self, card: float) -> float:
        """Return the largest share of the card that vLLM can have (below 0: the job does not fit without it)."""
        held = sum(self.states().values())
        if not self.sleep:
            held += sum(self.passes().values())
        return (card - MARGIN - held) / card


def cache_tokens(shape: Shape, share: float, card: float) -> int:
    """Return the tokens for which an engine with `share` of a card of `card` GiB has room in its cache."""
    room = share * card - 2 * shape.parameters / GIB - ENGINE_OVERHEAD
    return max(int(room * GIB / shape.cache_bytes), 0)


@dataclass(frozen=True)
class Need:
    """What a job needs. stage: stage, and method of a training; longest: tokens of its longest prompt and response together."""

    stage: str
    model: str
    shape: Shape
    share: float
    longest: int
    training: Training | None = None

    def size(self, card: float) -> float:
        """Return the GiB that it needs of a card of `card` GiB."""
        return self.training.needs(card) if self.training else self.share * card

    def problem(self, card: float) -> str:
        """Return why it does not fit on a card of `card` GiB; empty if it does."""
        if (size := self.size(card)) > card - MARGIN:
            return f"needs {size:.0f} GiB and {MARGIN} GiB free, the card has {card:.0f}"
        if self.share and (room := cache_tokens(self.shape, self.share, card)) < self.longest:
            return f"vLLM's cache has room for {room:,} tokens, a prompt and response take {self.longest:,}"
        return ""

    def rank(self, card: float) -> tuple[bool, float, int]:
        """Return how little it fits on a card of `card` GiB, to compare jobs by."""
        return bool(self.problem(card)), self.size(card), self.longest * self.shape.cache_bytes


def training_of(study: Study, run: Run) -> Training:
    """Return what decides the memory of a run's training."""
    settings, method = study.settings_for(run), METHODS[run.method]
    asked, limit = study.resources_for(method.stage), getattr(settings, "micro_tokens", None)
    tokens, vllm = max(longest_row(study, run), limit or 0), getattr(settings, "backend", None) == "vllm"
    rows = 1 if limit else settings.micro_batch or rows_per_update(settings) // asked.process_count
    cards = asked.process_count if asked.accelerate in SHARDING else 1
    engine = {"share": settings.vllm_memory, "sleep": settings.vllm_sleep} if vllm else {}
    shape = shape_of(study, study.model(run.model).base)
    return Training(shape, tokens, rows, cards, method.has_teacher, **engine)


def longest_row(study: Study, run: Run) -> int:
    """Return the tokens of the longest row of a run's training: of a prompt and its response, or of an example."""
    settings = study.settings_for(run)
    if isinstance(settings, RolloutSettings):
        return settings.max_prompt_tokens + settings.max_new_tokens
    return settings.max_tokens or study.file.benchmarks.max_new_tokens


def needs_of(study: Study) -> list[Need]:
    """Return what the jobs that request GPUs need, stage by stage, each need once."""
    found = [
        Need(f"{method.stage}, {name}", run.model, made.shape, made.share, longest_row(study, run), made)
        for name, method in METHODS.items()
        if study.resources_for(method.stage).gpus
        for run in study.runs(methods=(name,))
        for made in [training_of(study, run)]
    ]
    return list(dict.fromkeys([*found, *_engines(study)] if study.file.backend == "vllm" else found))


def _engines(study: Study) -> Iterator[Need]:
    """Yield what the stages without training need; a prompt of section 3 may show a whole response."""
    section_3, limit = study.file.section_3, study.file.benchmarks.max_new_tokens
    own = (section_3.max_new_tokens or limit) if section_3 else limit
    stages = {"evaluate": (study.models(), limit), "section_3": (study.section_3_models(), 2 * own)}
    for stage, (models, longest) in stages.items():
        for model in models if study.resources_for(stage).gpus else ():
            shape = shape_of(study, study.model(model).base)
            yield Need(stage, model, shape, ENGINE_SHARE, QUESTION + longest)


def most_demanding(needs: Iterable[Need], card: float) -> dict[str, Need]:
    """Return stage -> the job that fits least on a card of `card` GiB."""
    found: dict[str, Need] = {}
    for need in needs:
        kept = found.setdefault(need.stage, need)
        found[need.stage] = max(kept, need, key=lambda one: one.rank(card))
    return found


def memory_section(study: Study) -> list[str]:
    """Return the lines of the plan on the memory of a GPU, by stage and card; none if no job requests one."""
    needs = needs_of(study)
    lines = ["memory per GPU in GiB (computed, not measured), of the most demanding job:"] if needs else []
    for stage in dict.fromkeys(need.stage for need in needs):
        lines.append(f"  {stage}")
        for name, card in CARDS.items():
            lines.append(f"    {name} ({card:.0f}): {need_text(most_demanding(needs, card)[stage], card)}")
    return lines


def need_text(need: Need, card: float) -> str:
    """Return what a job needs of a card, whether it fits, and the room for its responses."""
    made, why = need.training, need.problem(card)
    size = f"updates {made.updates(card):.0f}" if made else f"{need.size(card):.0f}"
    if made and made.share:
        size += f", rollouts {made.rollouts(card):.0f}"
    parts = [f"{need.model}: {size}", f"does not fit: {why}" if why else "fits"]
    if made and made.share:
        parts.append(f"vllm_memory at most {max(made.most_share(card), 0):.2f}")
    if need.share:
        room = cache_tokens(need.shape, need.share, card)
        parts.append(f"cache for {room:,} tokens, {room // need.longest} of the longest responses at a time")
    return "; ".join(parts)
