"""What every part of the config files is built from: the strict base class and the number types."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from selfdistill.vocabulary.attention import known_attention
from selfdistill.vocabulary.graders import grader_module

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
"""A key that becomes a wildcard and a folder."""


def known_grader(name: str) -> str:
    """Return the name of a grader. Raises ValueError for an unknown one."""
    grader_module(name)
    return name


GraderName = Annotated[str, AfterValidator(known_grader)]
"""A grader of `selfdistill.vocabulary.graders`."""
AttentionName = Annotated[str, AfterValidator(known_attention)]
"""An attention function of `selfdistill.vocabulary.attention`."""
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A part of a study file: unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
