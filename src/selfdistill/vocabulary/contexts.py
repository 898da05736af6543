r"""The contexts: what a model sees beside the question when it writes, or when it teaches (paper: section 3, section 5).

A context is declared here and nowhere else. `section_3` and `teacher` name the functions (`module:function`) that
make it, for the base's own responses and for SDPO's teacher; a context without one cannot be used there, and a
study file that asks for it is refused.
"""

from dataclasses import dataclass

from selfdistill.vocabulary.looks import BLACK, GREEN, GREY, ORANGE, VERMILLION, Look


@dataclass(frozen=True)
class Context:
    """One context.

    symbol: as the paper writes it; subset: how it marks the SFT data written under it; section_3: function of
    sampling.section_3 that gives what each problem's prompt shows; teacher: function of training.teacher that gives
    each rollout's teacher prompt.
    """

    name: str
    symbol: str
    subset: str
    look: Look
    section_3: str | None = None
    teacher: str | None = None


_DECLARED = (
    Context(
        "unguided",
        symbol="c=∅",
        subset="ug",
        look=Look(GREY, "s"),
        section_3="selfdistill.sampling.section_3:nothing",
    ),
    Context(
        "answer-only",
        symbol="c=s\\think",
        subset="s\\think",
        look=Look(ORANGE, "D", "//"),
        section_3="selfdistill.sampling.section_3:first_correct_answer",
        teacher="selfdistill.training.teacher:sibling_answer",
    ),
    Context(
        "regeneration",
        symbol="c=ỹ",
        subset="ỹ",
        look=Look(GREEN, "P", ".."),
        section_3="selfdistill.sampling.section_3:first_regenerated",
    ),
    Context(
        "solution",
        symbol="c=s",
        subset="sg",
        look=Look(VERMILLION, "^", "xx"),
        section_3="selfdistill.sampling.section_3:first_correct",
        teacher="selfdistill.training.teacher:sibling_solution",
    ),
    # control, not in the paper: the same mode without information about this problem
    Context(
        "other-solution",
        symbol="another problem's s",
        subset="other",
        look=Look(BLACK, "*", ".."),
        teacher="selfdistill.training.teacher:foreign_solution",
    ),
)
CONTEXTS: dict[str, Context] = {context.name: context for context in _DECLARED}
"""All contexts by growing information about the problem; the control comes last."""
SECTION_3 = tuple(context.name for context in _DECLARED if context.section_3)
"""Contexts of section 3, by growing information."""
TEACHER = tuple(context.name for context in _DECLARED if context.teacher)
"""What SDPO's teacher may see."""
NONE = "none"
"""The context of a run that has none."""
