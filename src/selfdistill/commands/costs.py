"""What a study costs, from token counts, FLOPs per token and an assumed utilisation; nothing here is measured.

Used by `plan`. Every number is a Range: optimistic (short responses at high utilisation), expected, and pessimistic
(long responses at low utilisation). The forward pass of a token costs 2 P FLOPs (P: parameters) plus 4 L d per token
of its context (L layers of width d). A backward pass costs twice as much, and gradient checkpointing adds one forward
pass.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from selfdistill.commands.ranges import ZERO, Range
from selfdistill.records.paths import Paths
from selfdistill.records.resume import KEPT
from selfdistill.study.diagnosis import measured_runs
from selfdistill.study.methods import METHODS
from selfdistill.study.methods.sft import SftSettings
from selfdistill.study.models import HubBase, OrganismBase, PolishedBase, RandomBase
from selfdistill.study.shown import intervened, richness_draws
from selfdistill.study.study import Study
from selfdistill.vocabulary.contexts import PAPER_CONTEXTS
from selfdistill.vocabulary.diagnosis import PROBLEMS
from selfdistill.vocabulary.families import writes_tags
from selfdistill.vocabulary.interventions import FORCE
from selfdistill.vocabulary.runs import Run, Step
from selfdistill.vocabulary.teachers import NONE, update_rate

BYTES_PER_TOKEN = 4.0
"""Text of a token in a parquet file: an upper bound, since parquet compresses."""
BYTES_PER_PAIR = 100.0
"""A response scored under a context: up to five rows of a parquet file."""

DTYPE_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Assumptions:
    """Assumptions of the estimate; each field is an option of `python -m selfdistill.commands.plan`."""

    peak_tflops: float = 989.0
    """Dense bf16 peak of one GPU (H100 SXM 989, B200 2250)."""
    training_utilisation: Range = Range(0.45, 0.30, 0.15)
    """Share of the peak in training passes."""
    decoding_utilisation: Range = Range(0.15, 0.06, 0.03)
    """Share of the peak in generation, which is limited by memory bandwidth."""
    thinking_tokens: Range = Range(4000.0, 11000.0, 15000.0)
    """Mean response length of a thinking model. Paper: 13.1k (DeepSeek), about 10k (Qwen3-8B), 4k to 6k after SDPO."""
    plain_tokens: Range = Range(1000.0, 4000.0, 12000.0)
    """Mean response length of any other model. Paper: 1k to 3k under SDPO, 9k to 16k under GRPO (thinking off)."""
    kept_share: Range = Range(0.2, 0.1, 0.05)
    """Share of the problems tried in section 3 that have the requested solve rate; the paper does not state it."""


@dataclass(frozen=True)
class Cost:
    """Cost of one job.

    name: what it makes; gpus: number that it requests; disk: bytes that it writes; resume: bytes that it needs beside these
    while it runs; passing: bytes of `disk` that are deleted after the evaluation.
    """

    rule: str
    name: str
    gpu_hours: Range = ZERO
    gpus: int = 0
    disk: float = 0.0
    tokens: Range = field(default=ZERO)
    resume: float = 0.0
    passing: float = 0.0

    @property
    def hours(self) -> Range:
        """Return the wall-clock hours on its GPUs."""
        return self.gpu_hours.times(1 / max(self.gpus, 1))


def parameters(study: Study, base: str) -> float:
    """Return the number of parameters of a base: from the size in its repository's name, or from its dimensions."""
    spec = study.root(base)
    if isinstance(spec, RandomBase):
        return 12.0 * spec.layers * spec.hidden_size**2 + spec.vocabulary_size * spec.hidden_size
    if not isinstance(spec, OrganismBase):
        name = spec.repo_id if isinstance(spec, HubBase) else spec.file
        sizes = re.findall(r"(\d+(?:\.\d+)?)([BM])\b", name)
        return float(sizes[0][0]) * {"B": 1e9, "M": 1e6}[sizes[0][1]] if sizes else 7e9
    return 12.0 * spec.layers * spec.hidden_size**2


def attention_width(count: float) -> float:
    """Return layers x width of a model of `count` parameters, assuming the usual shape d = 128 L and P = 12 L d^2."""
    layers = (count / (12 * 128**2)) ** (1 / 3)
    return layers * 128 * layers


def token_flops(count: float, length: float) -> float:
    """Return the forward FLOPs per token of a response of `length` tokens, averaged over the response."""
    return 2 * count + 4 * attention_width(count) * length / 2


def response_tokens(study: Study, model: str, limit: int, assumed: Assumptions) -> Range:
    """Return the mean response length of a model, at most `limit`."""
    thinks = writes_tags(study.family(model).name, study.model(model).thinking)
    return (assumed.thinking_tokens if thinks else assumed.plain_tokens).at_most(limit)


def gpu_hours(count: float, tokens: Range, length: Range, passes: float, peak: float, share: Range) -> Range:
    """Return the GPU-hours of `passes` forward passes over `tokens`, at `share` of `peak` TFLOP/s."""
    flops = (t * passes * token_flops(count, n) for t, n in zip(tokens, length, strict=True))
    return Range(*(f / (peak * 1e12 * u) / 3600 for f, u in zip(flops, share, strict=True)))


class CostModel:
    """The costs of all jobs of a study that take time."""

    def __init__(self, study: Study, assumed: Assumptions) -> None:
        self.study, self.assumed = study, assumed

    def size(self, model: str) -> float:
        """Return the number of parameters of a model."""
        return parameters(self.study, self.study.model(model).base)

    def decode(self, model: str, tokens: Range, length: Range) -> Range:
        """Return the GPU-hours of generating tokens in responses of a mean length."""
        a = self.assumed
        return gpu_hours(self.size(model), tokens, length, 1, a.peak_tflops, a.decoding_utilisation)

    def passes(self, model: str, tokens: Range, length: Range, method: str) -> Range:
        """Return the GPU-hours of training on tokens in responses of a mean length."""
        a = self.assumed
        peak, share = a.peak_tflops, a.training_utilisation
        return gpu_hours(self.size(model), tokens, length, METHODS[method].passes, peak, share)

    def updates(self, run: Run, tokens: Range, length: Range) -> Range:
        """Return the GPU-hours of a run's updates on rollouts of a mean length, with what a teacher reads before each."""
        hours = self.passes(run.model, tokens, length, run.method)
        return hours + (self.demonstrations(run, tokens, length) if METHODS[run.method].has_teacher else ZERO)

    def demonstrations(self, run: Run, tokens: Range, length: Range) -> Range:
        """Return the GPU-hours of what the teacher reads before each response: at most another whole response of the step.

        `passes` counts the teacher's pass over the response alone; here its tokens are more, and each sees more.
        """
        longest = self.study.settings_for(run).max_reprompt_tokens
        shown = length.at_most(longest) if longest else length
        read = tokens + tokens.times(Range(*(s / n for s, n in zip(shown, length, strict=True))))
        both = ((read, length + shown, 1), (tokens, length, -1))
        a, count = self.assumed, self.size(run.model)
        hours = [gpu_hours(count, t, n, sign, a.peak_tflops, a.training_utilisation) for t, n, sign in both]
        return hours[0] + hours[1]

    def base(self, base: str) -> Cost:
        """Return the cost of a base: its weights in bfloat16."""
        rules = {OrganismBase: "train_base", PolishedBase: "polish_base", RandomBase: "make_base"}
        rule = rules.get(type(self.study.base(base)), "fetch_base")
        return Cost(rule, base, disk=2 * parameters(self.study, base))

    def section_3(self, model: str) -> Cost:
        """Return the cost of section 3: unguided responses until enough problems are kept, then the other contexts."""
        settings = self.study.file.section_3
        length = self.section_3_tokens(model)
        tried = [min(settings.problems / share, settings.pool) for share in self.assumed.kept_share]
        contexts = len(PAPER_CONTEXTS) - 1 + len(settings.further)
        answers = Range(*(t + contexts * settings.problems for t in tried)).times(settings.samples)
        tokens = answers.times(length)
        gpus = self.study.resources_for("section_3").gpus
        hours = self.decode(model, tokens, length)
        return Cost("sample_section_3", model, hours, gpus, BYTES_PER_TOKEN * tokens.mid, tokens)

    def section_3_tokens(self, model: str) -> Range:
        """Return the mean length of a response of section 3."""
        limit = self.study.file.section_3.max_new_tokens or self.study.file.benchmarks.max_new_tokens
        return response_tokens(self.study, model, limit, self.assumed)

    def richness(self, model: str) -> Cost:
        """Return the cost of scoring the responses of section 3, at most: all guided ones and as many unguided ones as may be correct.

        An unguided response is read under every context, any other under its own and none; c = ỹ and c = s show another whole response,
        and any further context is taken to do so.
        """
        settings, length = self.study.file.section_3, self.section_3_tokens(model)
        unguided, guided = settings.problems * settings.solve_rate[1], settings.problems * settings.samples
        further = len(settings.further)
        contexts = len(PAPER_CONTEXTS) + further
        scored = length.times(contexts * unguided + (contexts - 1) * 2 * guided)
        shown = length.times((2 + further) * (unguided + guided))
        gpus, a = self.study.resources_for("section_3").gpus, self.assumed
        hours = gpu_hours(
            self.size(model), scored + shown, length.times(2), 1, a.peak_tflops, a.training_utilisation
        )
        return Cost(
            "measure_richness",
            model,
            hours,
            gpus,
            BYTES_PER_PAIR * (contexts * unguided + (contexts - 1) * guided),
        )

    def diagnosis(self, run: Run) -> Cost:
        """Return the cost of measuring a run's plan: the base answers twice; both prompts, one with a response, are read with each answer."""
        settings, gpus = self.study.settings_for(run), self.study.resources_for("evaluate").gpus
        length = response_tokens(self.study, run.model, settings.max_new_tokens, self.assumed)
        tokens, a = length.times(2 * PROBLEMS * settings.rollouts), self.assumed
        read = (tokens, length.times(2), 3, a.peak_tflops, a.training_utilisation)
        hours = self.decode(run.model, tokens, length) + gpu_hours(self.size(run.model), *read)
        return Cost("measure_diagnosis", str(run), hours, gpus, tokens=tokens)

    def training(self, run: Run) -> Cost:
        """Return the cost of training a run: rollouts and updates, or SFT."""
        settings = self.study.settings_for(run)
        if isinstance(settings, SftSettings):
            return self.sft(run, settings)
        length = response_tokens(self.study, run.model, settings.max_new_tokens, self.assumed)
        tokens = length.times(settings.steps * settings.prompts * settings.rollouts)
        hours = self.decode(run.model, tokens, length) + self.updates(run, tokens, length)
        return self.trained(run, hours, tokens, BYTES_PER_TOKEN * tokens.mid)

    def trained(self, run: Run, hours: Range, tokens: Range, text: float) -> Cost:
        """Return the cost of a training: its exported models, `text` bytes of records, and its checkpoints to resume from."""
        settings, asked = self.study.settings_for(run), self.study.resources_for(METHODS[run.method].stage)
        models = len(self.study.steps_of(run)) * DTYPE_BYTES[settings.export_dtype] * self.size(run.model)
        # weights, two moments; with several processes the weights twice; a moving teacher
        copies = 3 + bool(asked.accelerate) + (run.teacher != NONE and update_rate(run.teacher) > 0)
        resume = KEPT * copies * 4 * self.size(run.model)
        passing = 0.0 if self.study.file.keep_checkpoints else models
        rule = METHODS[run.method].rule
        return Cost(rule, str(run), hours, asked.gpus, models + text, tokens, resume, passing)

    def sft(self, run: Run, settings: SftSettings) -> Cost:
        """Return the cost of SFT: epochs over the off-policy examples."""
        limit = settings.max_tokens or self.study.file.benchmarks.max_new_tokens
        length = response_tokens(self.study, run.model, limit, self.assumed)
        tokens = length.times(self.study.file.off_policy.trajectories * settings.epochs)
        hours = self.passes(run.model, tokens, length, run.method)
        return self.trained(run, hours, tokens, 0.0)

    def evaluation(self, run: Run, step: Step, benchmarks: Iterable[str] | None = None) -> Cost:
        """Return the cost of evaluating a checkpoint of a run; benchmarks: default, those that the study asks for."""
        asked, names = self.study.file.benchmarks, benchmarks or self.study.benchmarks_at(run, step)
        problems = sum(size or 0 for size in benchmark_sizes(self.study, names).values())
        length = response_tokens(self.study, run.model, asked.max_new_tokens, self.assumed)
        tokens = length.times(problems * self.study.samples_at(run, step))
        gpus = self.study.resources_for("evaluate").gpus
        hours = self.decode(run.model, tokens, length)
        return Cost("evaluate", f"{run}, step {step}", hours, gpus, BYTES_PER_TOKEN * tokens.mid, tokens)

    def intervention(self, run: Run, name: str) -> Cost:
        """Return the cost of evaluating a run after training under an intervention; with `force`, the base reads every token too."""
        cost = self.evaluation(run, self.study.steps_of(run)[-1])
        hours = cost.gpu_hours.times(2 if name == FORCE else 1)
        return replace(cost, rule="evaluate_intervention", name=f"{run}, {name}", gpu_hours=hours)


def costs_of(study: Study, assumed: Assumptions) -> dict[str, Cost]:
    """Return manifest -> cost of every job that takes time."""
    model, paths = CostModel(study, assumed), Paths(study.name)
    found = {paths.manifest(paths.base(*draw)): model.base(draw[0]) for draw in study.base_draws()}
    found |= {
        paths.manifest(paths.section_3(*draw)): model.section_3(draw[0]) for draw in study.section_3_draws()
    }
    found |= {
        paths.manifest(paths.richness(*draw)): model.richness(draw[0]) for draw in richness_draws(study)
    }
    found |= {paths.manifest(paths.diagnosis(run)): model.diagnosis(run) for run in measured_runs(study)}
    found |= {paths.run_manifest(run): model.training(run) for run in study.runs()}
    found |= {
        paths.manifest(paths.intervention(*pair)): model.intervention(*pair) for pair in intervened(study)
    }
    return found | {
        paths.manifest(paths.samples(run, step)): model.evaluation(run, step)
        for run in study.base_runs() + study.runs()
        for step in study.steps_of(run)
    }


def benchmark_sizes(study: Study, names: Iterable[str] | None = None) -> dict[str, int | None]:
    """Return the number of problems per benchmark, None if unknown; names: default, the benchmarks of all runs."""
    specs = {name: study.benchmark_spec(name) for name in names or study.file.benchmarks.names}
    return {name: s.get("problems") or (s.get("expect") or {}).get("rows") for name, s in specs.items()}
