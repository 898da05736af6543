"""Runs and their settings: what a method and variant ask for can be done, and leaves something to learn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from selfdistill.study.feasibility.impossible import (
    Impossible,
    at_most,
    check_rate,
    check_temperature,
    made_here,
)
from selfdistill.study.methods import METHODS
from selfdistill.study.methods.schedule import ADAPTIVE
from selfdistill.vocabulary.contexts import CONTEXTS, TEACHER
from selfdistill.vocabulary.families import OFF
from selfdistill.vocabulary.organism import CHAIN_TYPES, POSITIONS, VOCABULARY_SIZE

if TYPE_CHECKING:
    from selfdistill.study.study import Study

PROMPT_EXTRA = {"prompt-tag": 1, OFF: 2}
"""Thinking -> tokens that a template adds to the bare prompt of an organism."""


@dataclass(frozen=True)
class Use:
    """A method and variant that the grid uses, with its settings, and the models and data sets of these runs."""

    study: "Study"
    method: str
    variant: str
    settings: Any
    models: tuple[str, ...]
    datasets: tuple[str, ...]

    def key(self, name: str) -> str:
        """Return where a setting stands in the file: in the variant, or in `training`."""
        sections = METHODS[self.method].sections
        for prefix, found in (
            (f"variants.{self.variant}", self.study.file.variants[self.variant]),
            ("training", self.study.file.training),
        ):
            for section in reversed(sections):
                if name in found.get(section, {}):
                    return f"{prefix}.{section}.{name}"
        return f"training.{sections[-1]}.{name}"

    def impossible(self, name: str, problem: str, *allowed: str) -> Impossible:
        """Return a setting that cannot work, with who uses it."""
        return Impossible(self.key(name), f"{problem} ({self.method}, variant {self.variant})", allowed)

    @property
    def longest_prompt(self) -> int | None:
        """Return the tokens of the longest prompt, None where a real tokenizer or data file decides."""
        specs = [self.study.file.datasets[name] for name in self.datasets]
        made = all(made_here(self.study, model) for model in self.models)
        if not made or any(spec.source != "organism" for spec in specs):
            return None
        extra = max(PROMPT_EXTRA.get(self.study.model(model).thinking, 0) for model in self.models)
        return extra + max(CHAIN_TYPES[name].prompt_tokens for spec in specs for name in spec.types)


def uses(study: "Study") -> Iterator[Use]:
    """Yield every method and variant of the grid."""
    for method, variant in sorted({(run.method, run.variant) for run in study.runs()}):
        runs = [run for run in study.runs(methods=(method,)) if run.variant == variant]
        models, datasets = (
            tuple(dict.fromkeys(getattr(run, name) for run in runs)) for name in ("model", "dataset")
        )
        yield Use(study, method, variant, study.resolve(method, variant), models, datasets)


def check_training(study: "Study") -> Iterator[Impossible]:
    """Every used method and variant, setting by setting."""
    for use in uses(study):
        yield from check_rate(use.key("learning_rate"), use.settings.learning_rate)
        yield from (check_rollouts if hasattr(use.settings, "rollouts") else check_examples)(use)
        yield from check_micro_batch(use)
        yield from check_prompt(use)
        if hasattr(use.settings, "success_threshold"):
            yield from check_distillation(use)
        if getattr(use.settings, "rule", None) == ADAPTIVE:
            yield from check_controller(use)
        if hasattr(use.settings, "gate_warmup_steps"):
            why = f"steps = {use.settings.steps} - 1, so the signal would never pass"
            warmup = use.settings.gate_warmup_steps
            yield from at_most(use.key("gate_warmup_steps"), warmup, use.settings.steps - 1, why)
        if hasattr(use.settings, "clip_low") and use.settings.clip_low >= 1:
            yield use.impossible(
                "clip_low", f"{use.settings.clip_low:g} would allow a ratio of 0", "above 0, below 1"
            )


def check_micro_batch(use: Use) -> Iterator[Impossible]:
    """Rows of an update split evenly into micro-batches (several processes: checks.check_shares)."""
    settings, rows = use.settings, rows_per_update(use.settings)
    if settings.micro_batch and rows % settings.micro_batch:
        divisors = ", ".join(str(number) for number in range(1, rows + 1) if rows % number == 0)
        yield use.impossible(
            "micro_batch", f"{settings.micro_batch} does not divide the {rows} rows per update", divisors
        )
    if settings.micro_batch and getattr(settings, "micro_tokens", None):
        problem = (
            f"{settings.micro_tokens} and micro_batch = {settings.micro_batch} are given: one of them decides"
        )
        yield use.impossible("micro_tokens", problem, "null, or micro_batch: null")


def rows_per_update(settings: Any) -> int:
    """Return how many rows an optimizer update takes."""
    if hasattr(settings, "rollouts"):
        return settings.prompts * settings.rollouts // settings.updates_per_step
    return settings.batch_size


def check_prompt(use: Use) -> Iterator[Impossible]:
    """A limit on tokens is longer than the prompts that it applies to."""
    longest = use.longest_prompt
    if longest is None:
        return
    for name, least in (("max_prompt_tokens", longest), ("max_tokens", longest + 1)):
        limit = getattr(use.settings, name, None)
        if limit is not None and limit < least:
            yield use.impossible(
                name, f"{limit} is below the longest prompt of {longest} tokens", f"at least {least}"
            )
    if hasattr(use.settings, "max_new_tokens"):
        room = POSITIONS - longest
        why = f"the {POSITIONS} positions of an organism leave"
        yield from at_most(use.key("max_new_tokens"), use.settings.max_new_tokens, room, why)


def check_rollouts(use: Use) -> Iterator[Impossible]:
    """A step's rollouts split into its updates; the warm-up ends within the run; the temperature is no slip of the pen."""
    settings = use.settings
    rows = settings.prompts * settings.rollouts
    if rows % settings.updates_per_step:
        problem = f"{settings.updates_per_step} does not divide prompts x rollouts = {rows}"
        yield use.impossible("updates_per_step", problem)
    yield from at_most(
        use.key("warmup_steps"), settings.warmup_steps, settings.steps, f"steps = {settings.steps}"
    )
    yield from check_temperature(use.key("temperature"), settings.temperature)


def check_examples(use: Use) -> Iterator[Impossible]:
    """The warm-up of SFT ends within the run, however many examples section 4 finds."""
    settings, off_policy = use.settings, use.study.file.off_policy
    updates = settings.epochs * -(-off_policy.trajectories // settings.batch_size)
    why = f"the {updates} updates of {off_policy.trajectories} examples"
    yield from at_most(use.key("warmup_steps"), settings.warmup_steps, updates, why)


def check_distillation(use: Use) -> Iterator[Impossible]:
    """SDPO: demonstrations are possible, the teacher reads the question, the loss sees tokens that exist."""
    settings = use.settings
    if not 0 < settings.success_threshold <= 1:
        problem = f"{settings.success_threshold:g} must be a score between wrong (0) and right (1)"
        yield use.impossible("success_threshold", problem, "above 0, at most 1")
    if settings.is_clip is not None and settings.is_clip <= 0:
        yield use.impossible("is_clip", f"{settings.is_clip:g} would cancel every token", "above 0", "null")
    limit = settings.max_reprompt_tokens
    if limit is not None and limit <= settings.max_prompt_tokens:
        problem = (
            f"{limit} would cut the question, which max_prompt_tokens = {settings.max_prompt_tokens} allows"
        )
        yield use.impossible("max_reprompt_tokens", problem, f"at least {settings.max_prompt_tokens + 1}")
    if any(made_here(use.study, model) for model in use.models):
        why = "the vocabulary of an organism"
        yield from at_most(use.key("top_k"), settings.top_k, VOCABULARY_SIZE, why)


def check_controller(use: Use) -> Iterator[Impossible]:
    """The controller of a schedule can move within the run, and does not go back at the rate at which it came."""
    settings = use.settings
    why = f"half of steps = {settings.steps}, so the controller would never move"
    yield from at_most(use.key("window"), settings.window, settings.steps // 2, why)
    recovered, kept = settings.recovered_rate, settings.kept_rate
    if recovered is not None and recovered <= kept:
        problem = f"{recovered:g} must be above kept_rate = {kept:g}"
        yield use.impossible("recovered_rate", problem, f"above {kept:g}", "null")


def check_unused(study: "Study") -> Iterator[Impossible]:
    """Settings that no run uses have a name that exists: a variant is written before the runs that will use it."""
    places = {"training": study.file.training} | {
        f"variants.{name}": found for name, found in study.file.variants.items()
    }
    for prefix, sections in places.items():
        for section, values in sections.items():
            names = section_names(section)
            for name in values:
                if name not in names:
                    yield Impossible(f"{prefix}.{section}.{name}", "unknown key", names, value=str(name))


def section_names(section: str) -> tuple[str, ...]:
    """Return the settings of all methods whose settings may stand in a section of `training`."""
    kinds = [method.settings for method in METHODS.values() if method.may_stand_in(section)]
    return tuple(dict.fromkeys(name for kind in kinds for name in kind.model_fields))


class Asked(NamedTuple):
    """Contexts that the study file asks for at a key, and the models and data set of these runs."""

    key: str
    contexts: Sequence[str]
    models: Sequence[str]
    dataset: str


def contexts_of_runs(study: "Study") -> Iterator[Asked]:
    """Yield the contexts of all runs: their own, and those that a schedule goes on to."""
    for index, entry in enumerate(study.file.runs):
        yield Asked(f"runs.{index}.contexts", entry.contexts, entry.models, entry.dataset)
    for use in uses(study):
        for dataset in use.datasets:
            yield Asked(use.key("leaner"), getattr(use.settings, "leaner", ()), use.models, dataset)


def check_contexts(study: "Study") -> Iterator[Impossible]:
    """Without think tags c = s\\think is c = s: an answer-only run would be the solution run under another name."""
    for asked in contexts_of_runs(study):
        for model in asked.models:
            if "answer-only" in asked.contexts and study.model(model).thinking == OFF:
                problem = f"without thinking, answer-only equals solution ({model})"
                others = tuple(name for name in asked.contexts if name != "answer-only") or ("solution",)
                yield Impossible(asked.key, problem, others)


def check_hints(study: "Study") -> Iterator[Impossible]:
    """Hints are words about an integer from 0 to 12, which only the problems of the organism have as answer."""
    datasets, section_3 = study.file.datasets, study.file.section_3
    everywhere = list(contexts_of_runs(study))
    if section_3 is not None:
        everywhere.append(Asked("section_3.further", section_3.further, (), section_3.dataset))
    for asked in everywhere:
        hints = [name for name in asked.contexts if CONTEXTS[name].hint]
        if hints and datasets[asked.dataset].source != "organism":
            problem = (
                f"{hints[0]} needs answers from 0 to 12, which the data set {asked.dataset} need not have"
            )
            yield Impossible(asked.key, problem, [name for name in asked.contexts if name not in hints])


def check_instructions(study: "Study") -> Iterator[Impossible]:
    """An organism reads the words of its own documents only; to it an instruction is a row of unknown words."""
    for asked in contexts_of_runs(study):
        asks = [name for name in asked.contexts if CONTEXTS[name].instruction]
        organisms = [model for model in asked.models if asks and made_here(study, model)]
        if organisms:
            problem = (
                f"{asks[0]} asks in words that are not in the vocabulary of an organism ({organisms[0]})"
            )
            yield Impossible(asked.key, problem, [name for name in TEACHER if not CONTEXTS[name].instruction])


def check_teacher_names(study: "Study") -> Iterator[Impossible]:
    """A rate has one spelling: `ema-.05` and `ema-0.050` would be other runs of the same teacher."""
    for index, entry in enumerate(study.file.runs):
        for teacher in entry.teachers:
            rate = teacher.partition(".")[2].rstrip("0")
            plain = f"ema-0.{rate}" if rate else teacher
            if plain != teacher:
                problem = f"{teacher!r} is another spelling of a teacher"
                yield Impossible(f"runs.{index}.teachers", problem, (plain,))
