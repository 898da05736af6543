"""models.yaml: base weights, and the models that studies make of them."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from selfdistill.study.fields import Name, Positive, Rate, Section, Share
from selfdistill.study.methods.sft import SftSettings
from selfdistill.study.sampling import Selection, Temperature
from selfdistill.vocabulary.families import FAMILIES, MODES
from selfdistill.vocabulary.roles import ROLES

Template = Literal[tuple(FAMILIES)]


def ranges(bounds: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
    """Return bounds as they are; raise ValueError unless each is [lowest, highest]."""
    for name, pair in bounds.items():
        if len(pair) != 2:
            raise ValueError(f"{name} must be [lowest, highest], not {pair}")
    return bounds


Acceptance = Annotated[dict[str, list[float | None]], AfterValidator(ranges)]
"""Figure of a base -> [lowest, highest], None: unbounded."""


class OrganismBase(Section):
    """A tiny base model that the DAG trains from scratch (the mini study).

    Of every kind of base: drawn, whether its weights are drawn anew for each replicate; organism, whether the DAG trains it.
    """

    organism: ClassVar[bool] = True
    drawn: ClassVar[bool] = True

    source: Literal["organism"] = Field(description="`organism`: trained from scratch in the DAG")
    architecture: Literal["qwen2", "qwen3", "olmo3"] = Field(
        description="transformers architecture, that of a family of the paper"
    )
    template: Template = Field(
        description="chat template: where the opening think tag stands (r1: in the prompt; olmo3: nowhere)"
    )
    hidden_size: Positive = Field(description="width")
    layers: Positive = Field(description="number of layers")
    heads: Positive = Field(description="attention heads")
    intermediate_size: Positive = Field(description="width of the feed-forward part")
    steps: Positive = Field(description="updates of pre-training")
    batch_size: Positive = Field(description="documents per update")
    learning_rate: Rate = Field(description="peak learning rate of AdamW")
    style: dict[str, Share] = Field(
        default={}, description="habits and flaws of the pre-training responses (organism.traces.Style)"
    )
    acceptance: Acceptance = Field(
        default={},
        description="metric: accepted range [lowest, highest] (null: unbounded); a draw outside of it is refused and another one "
        "made, up to `organism.acceptance.MOST_DRAWS`",
    )


class PolishedBase(Section):
    """An organism after rounds of SFT on its own correct responses (organism.polish)."""

    organism: ClassVar[bool] = True
    drawn: ClassVar[bool] = True

    source: Literal["polished"] = Field(
        description="`polished`: an organism, trained further on its own correct unguided responses"
    )
    of: str = Field(description="key of `bases`: that organism")
    thinking: Literal[MODES] = Field(description="thinking of its responses, as in `models`")
    rounds: Positive = Field(description="number of rounds, each from the model of the one before")
    types: dict[str, Share] = Field(min_length=1, description="type of its problems: weight")
    max_new_tokens: Positive = Field(description="maximum length of its responses in tokens")
    selection: Selection = Field(description="problems of a round, and the responses to them")
    trajectories: Positive = Field(description="number of examples of a round")
    per_problem: Positive = Field(description="maximum number of examples per problem")
    sft: SftSettings = Field(description="training of a round")
    acceptance: Acceptance = Field(
        default={},
        description="as of an organism; `last round` is the largest change of an accuracy in the last round",
    )


class HubBase(Section):
    """Released weights, fetched once by the rule fetch_base."""

    organism: ClassVar[bool] = False
    drawn: ClassVar[bool] = False

    source: Literal["hub"] = Field(description="`hub`: a repository of the Hugging Face hub")
    repo_id: str = Field(min_length=1, description="repository, such as `Qwen/Qwen3-8B`")
    revision: str = Field(
        default="main",
        description="commit, tag or branch; the first fetch holds the study to the commit that it found (config/lock/)",
    )
    path: str | None = Field(
        default=None,
        exclude=True,  # where the files are is no part of a result
        description="folder with the repository's files, copied instead of asking the hub; `~` is not expanded",
    )
    template: Template = Field(description="family of the chat template")


class PackageBase(Section):
    """Weights inside an installed Python package."""

    organism: ClassVar[bool] = False
    drawn: ClassVar[bool] = False

    source: Literal["package"] = Field(description="`package`: a file of an installed Python package")
    file: str = Field(pattern="^package://", description="GGUF file, `package://NAME/PATH`")
    end_of_turn: str = Field(min_length=1, description="token that ends a response")
    template: Template = Field(description="family of the chat template")


class RandomBase(Section):
    """Random weights in the shape of a released Qwen3, which only show that the stages run (organism.random_weights)."""

    organism: ClassVar[bool] = False
    drawn: ClassVar[bool] = True

    source: Literal["random"] = Field(description="`random`: random weights, made in the DAG")
    template: Template = Field(description="family of the chat template")
    vocabulary_size: Positive = Field(
        description="rows of the embedding; the tokenizer, the organism's, has fewer"
    )
    positions: Positive = Field(description="longest sequence, prompt and response together")
    hidden_size: Positive = Field(description="width")
    layers: Positive = Field(description="number of layers")
    heads: Positive = Field(description="attention heads")
    key_heads: Positive = Field(description="heads of keys and values")
    head_dim: Positive = Field(description="width of a head")
    intermediate_size: Positive = Field(description="width of the feed-forward part")
    response_tokens: Positive = Field(description="mean length of its responses")


BaseSpec = Annotated[
    OrganismBase | PolishedBase | HubBase | PackageBase | RandomBase, Field(discriminator="source")
]


class SamplingOverride(Section):
    """Sampling of one model where it differs from the study's."""

    temperature: Temperature | None = Field(default=None, description="temperature")
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="probability mass of nucleus sampling"
    )
    top_k: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="number of tokens to sample from (0: all)"
    )


class ModelSpec(Section):
    """A base with its thinking switch: what the paper's figures call a model."""

    base: str = Field(description="key of `bases`")
    thinking: Literal[MODES] = Field(
        description="`prompt-tag`: opened in the prompt; `on`, `off`: the template's switch; `none`: no tags"
    )
    label: str = Field(default="", description="name in figures and tables")
    role: Literal[ROLES] | None = Field(
        default=None,
        description="model setting of the paper that it plays in figures and claims; one model of a study per role",
    )
    sampling: SamplingOverride = Field(
        default=SamplingOverride(), description="sampling settings that differ from the study's"
    )


class Models(Section):
    """config/models.yaml."""

    bases: dict[Name, BaseSpec] = Field(description="weights")
    models: dict[Name, ModelSpec] = Field(description="models of the studies")
