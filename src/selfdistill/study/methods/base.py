"""What a training method is to the study: its settings, what it needs of a run, its trainer and its look.

A new method is a module of this package with its settings and its `Method`, one line in the package's registry, and
its trainer. Everything else (config choices, wildcards, rules, labels, costs, figures) follows from the declaration.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from selfdistill.study.fields import AttentionName, GraderName, Positive, Rate, Section
from selfdistill.study.yaml import known, reject
from selfdistill.vocabulary import attention, teachers
from selfdistill.vocabulary.contexts import CONTEXTS
from selfdistill.vocabulary.looks import Look
from selfdistill.vocabulary.runs import FULL

if TYPE_CHECKING:
    from selfdistill.study.grid import RunGrid
    from selfdistill.study.study import Study


SHARED = "rl"
"""Section of `training` of all on-policy methods."""
IN_TURN, INDEPENDENT = "in-turn", "independent"
"""Values of `draws`."""


class TrainingSettings(Section):
    """What all methods share."""

    resume_every: Positive | None = Field(
        default=None,
        exclude=True,  # no result depends on it, so that a change trains nothing again
        description="steps (SFT: updates) between further checkpoints to resume from, which are not exported: no more are "
        "done again, whatever ends a job (null: only those that are written anyway)",
    )
    export_dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="type of the weights of exported models; they are trained in float32"
    )
    attn_implementation: AttentionName = Field(
        default=attention.DEFAULT,
        description="attention function of transformers in training: `sdpa`, `eager`, `flash_attention_2`, `flash_attention_3` or "
        "`kernels-community/NAME`, the last three on GPUs only and with a package of their own",
    )


class RolloutSettings(TrainingSettings):
    """What on-policy methods share (sections 5 and 6)."""

    steps: Positive = Field(description="number of steps; each draws a batch of rollouts")
    prompts: Positive = Field(description="prompts per step")
    draws: Literal[IN_TURN, INDEPENDENT] = Field(
        default=IN_TURN,
        description="how problems are drawn: `in-turn` (each once before any recurs) or `independent` (each "
        "time from all)",
    )
    rollouts: Annotated[int, Field(ge=2)] = Field(description="responses per prompt")
    updates_per_step: Positive = Field(description="optimizer updates per step")
    max_prompt_tokens: Positive = Field(
        description="maximum prompt length in tokens; problems with longer prompts are left out"
    )
    max_new_tokens: Positive = Field(description="maximum response length in tokens")
    temperature: Rate = Field(description="temperature of the rollouts")
    checkpoint_every: Positive = Field(description="steps between checkpoints; the last step has one too")
    learning_rate: Rate = Field(description="learning rate of AdamW, constant after the warm-up")
    warmup_steps: int = Field(default=10, ge=0, description="warm-up in steps")
    weight_decay: float = Field(default=0.01, ge=0, description="weight decay")
    adam_beta2: float = Field(default=0.999, gt=0, lt=1, description="decay rate of the second moment")
    micro_batch: Positive | None = Field(
        default=None, description="rows per device and forward pass (null: the whole mini-batch)"
    )
    micro_tokens: Positive | None = Field(
        default=None,
        description="tokens per device and pass, padding included, in place of `micro_batch`: rows of similar length share a pass, "
        "and a longer row has one of its own (null: passes of `micro_batch` rows)",
    )

    @property
    def rows_per_pass(self) -> int | None:
        """Rows into which the trainer splits a mini-batch: `micro_batch`, or single ones that `micro_tokens` groups."""
        return 1 if self.micro_tokens else self.micro_batch

    grader: GraderName = Field(
        default="strict", description="grader whose verdict is the reward (docs/grading.md)"
    )
    backend: Literal["transformers", "vllm"] = Field(
        default="transformers", description="backend that generates the rollouts (default: the study's)"
    )
    rollout_is_clip: float = Field(
        default=2.0, gt=0, description="upper bound of the importance weights of vLLM's rollouts"
    )
    vllm_memory: float = Field(
        default=0.3, gt=0, lt=1, description="share of the GPU memory for vLLM beside the trainer"
    )
    vllm_sleep: bool = Field(
        default=False,
        description="vLLM gives its memory back during updates, so `vllm_memory` need only fit beside weights and optimizer (`make plan`)",
    )

    @property
    def exported_steps(self) -> tuple[int, ...]:
        """The steps whose models are exported: every `checkpoint_every`, and the last."""
        return (*range(self.checkpoint_every, self.steps, self.checkpoint_every), self.steps)


def no_check(study: "Study", key: str, entry: "RunGrid") -> None:
    """Accept every entry of the grid."""


@dataclass(frozen=True)
class Method:
    """A training method.

    settings, sections: its settings class, and the sections of `training` that fill it, later ones over earlier ones;
    trainer: function that trains a run (`module:function`, called with a TrainingJob); contexts: the contexts that its
    runs may name, none for a method without; has_teacher: whether a run names a teacher; whole_set: trains on all
    problems; equal_tokens: trains on off-policy data sets that are matched in tokens (sampling.matching); label: name in
    figures, `{symbol}` and `{subset}` are the context's; look: None takes the context's own;
    looks: context -> look where it differs; passes: forward passes that a training token costs (a backward pass counts
    two); check: what an entry of the grid must fulfil beyond this.
    """

    name: str
    label: str
    settings: type[Section]
    sections: tuple[str, ...]
    trainer: str
    passes: float
    contexts: tuple[str, ...] = ()
    has_teacher: bool = False
    whole_set: bool = False
    equal_tokens: bool = False
    look: Look | None = None
    looks: Mapping[str, Look] = field(default_factory=dict)
    check: Callable[["Study", str, "RunGrid"], None] = no_check

    @property
    def on_policy(self) -> bool:
        """Return whether it trains on responses that it generates itself."""
        return issubclass(self.settings, RolloutSettings)

    @property
    def stage(self) -> str:
        """Return the stage whose `resources` its jobs ask for."""
        return "rl" if self.on_policy else "sft"

    @property
    def rule(self) -> str:
        """Return the rule that trains it."""
        return "train_on_policy" if self.on_policy else "train_off_policy"

    def may_stand_in(self, section: str) -> bool:
        """Return whether its settings may stand in a section: its own, or one that it shares and that is no other method's own."""
        return section == self.sections[-1] or (section == SHARED and SHARED in self.sections)

    def defaults(self) -> dict[str, str]:
        """Return the run fields that a claim's arm need not name."""
        context = {} if self.contexts else {"context": "none"}
        return context | {"teacher": teachers.FIXED if self.has_teacher else teachers.NONE}

    def look_of(self, context: str) -> Look:
        """Return how its run in a context is drawn; raise KeyError for an undeclared context."""
        return self.looks.get(context) or self.look or CONTEXTS[context].look

    def label_of(self, context: str) -> str:
        """Return the name of its run in a context."""
        shown = CONTEXTS.get(context)
        return self.label.format(symbol=shown.symbol, subset=shown.subset) if shown else self.label

    def check_entry(self, study: "Study", key: str, entry: "RunGrid") -> None:
        """Raise StudyError if an entry of the grid does not name what the method needs, or names more."""
        self._check_given(study, f"{key}.contexts", entry.contexts, self.contexts, "context")
        forms = teachers.FORMS if self.has_teacher else ()
        self._check_given(study, f"{key}.teachers", entry.teachers, forms, "teacher")
        known(study.path, f"{key}.contexts", entry.contexts, self.contexts)
        for teacher in entry.teachers:
            if not teachers.is_teacher(teacher):
                reject(study.path, f"{key}.teachers", f"unknown teacher {teacher!r}", forms, teacher)
        if self.whole_set and entry.coverages != [FULL]:
            reject(study.path, f"{key}.coverages", f"{self.name} trains on the whole data set", [FULL])
        self.check(study, key, entry)

    def _check_given(
        self, study: "Study", key: str, given: list[str], allowed: tuple[str, ...], what: str
    ) -> None:
        """Raise StudyError if a list is missing that the method needs, or given where it has no use for it."""
        if allowed and not given:
            reject(study.path, key, f"{self.name} needs a {what}", allowed)
        if given and not allowed:
            reject(study.path, key, f"{self.name} has no {what}: leave the key out")


def taught_method(
    name: str,
    label: str,
    settings: type[RolloutSettings],
    sections: tuple[str, ...],
    passes: float,
    look: Look,
    check: Callable[["Study", str, "RunGrid"], None],
    contexts: tuple[str, ...],
) -> Method:
    """Return the declaration of a method with a self-teacher whose trainer is `training.variants.NAME:train_NAME`."""
    return Method(
        name=name,
        label=f"{label} ({{symbol}})",
        settings=settings,
        sections=sections,
        trainer=f"selfdistill.training.variants.{name}:train_{name}",
        passes=passes,
        contexts=contexts,
        has_teacher=True,
        look=look,
        check=check,
    )
