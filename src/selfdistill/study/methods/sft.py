"""SFT: off-policy self-distillation on the model's own correct responses (section 4)."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from selfdistill.study.fields import Positive, Rate
from selfdistill.study.methods.base import Method, TrainingSettings
from selfdistill.study.yaml import known, reject
from selfdistill.vocabulary.contexts import PAPER_CONTEXTS
from selfdistill.vocabulary.looks import GREEN, PURPLE, SKY, YELLOW, Look

if TYPE_CHECKING:
    from selfdistill.study.grid import RunGrid
    from selfdistill.study.study import Study


class SftSettings(TrainingSettings):
    """Off-policy self-distillation (section 4)."""

    learning_rate: Rate = Field(description="learning rate of AdamW")
    epochs: Positive = Field(description="epochs over the data")
    batch_size: Positive = Field(description="examples per update")
    micro_batch: Positive | None = Field(
        default=None, description="rows per device and forward pass (null: the whole batch)"
    )
    schedule: Literal["cosine", "constant", "constant_with_warmup", "linear"] = Field(
        default="cosine", description="learning rate schedule"
    )
    warmup_steps: int = Field(default=0, ge=0, description="warm-up in updates")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay")
    adam_beta2: float = Field(default=0.999, gt=0, lt=1, description="decay rate of the second moment")
    max_tokens: Positive | None = Field(
        default=None, description="length in tokens at which examples are cut (null: never)"
    )

    @property
    def exported_steps(self) -> None:
        """None: only the last update's model is exported, and its number depends on the rows of the data."""
        return

    def updates(self, rows: int) -> int:
        """Return the optimizer updates on `rows` examples, the last of which is the only step whose model is exported."""
        return -(-rows // self.batch_size) * self.epochs


def check_sft(study: "Study", key: str, entry: "RunGrid") -> None:
    """Raise StudyError unless the data sets of section 4 exist for the entry's models, contexts and training set."""
    off_policy, section_3 = study.file.off_policy, study.file.section_3
    if off_policy is None or section_3 is None:
        reject(study.path, f"{key}.method", "sft needs the data sets of `off_policy`, which is not declared")
    known(study.path, f"{key}.models", entry.models, section_3.models, "section_3.models")
    known(study.path, f"{key}.dataset", [entry.dataset], [section_3.dataset], "section_3.dataset")
    known(study.path, f"{key}.contexts", entry.contexts, off_policy.contexts, "off_policy.contexts")


SFT = Method(
    name="sft",
    label="SFT on D_{subset}",
    settings=SftSettings,
    sections=("sft",),
    trainer="selfdistill.training.sft:train_sft",
    passes=4.0,  # student forward, backward (2), recomputation of activations
    contexts=PAPER_CONTEXTS,
    whole_set=True,
    looks={
        "unguided": Look(SKY, "v", "\\\\"),
        "solution": Look(PURPLE, "X", "++"),
        "answer-only": Look(GREEN, "P", ".."),
        "regeneration": Look(YELLOW, "h", "oo"),
    },
    check=check_sft,
)
