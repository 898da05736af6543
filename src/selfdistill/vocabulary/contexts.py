r"""The contexts: what a model sees in addition to the question when it responds or teaches (paper: sections 3 and 5).

A context is declared here and nowhere else. `section_3` and `teacher` name the functions (`module:function`) that
make it: for the base's own responses, and for SDPO's teacher. A context without such a function cannot be used there,
and a study file that asks for it is rejected.
"""

from dataclasses import dataclass

from selfdistill.vocabulary.looks import BLACK, GREEN, GREY, ORANGE, VERMILLION, Look


@dataclass(frozen=True)
class Context:
    """One context.

    symbol: the paper's notation; subset: index of the paper's SFT data set D made of its responses; section_3: function
    of sampling.section_3 that returns what each problem's prompt shows; teacher: function of training.teacher that
    returns what each rollout's teacher prompt shows.
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
    # control, not in the paper: the same prompt, without information about this problem
    Context(
        "other-solution",
        symbol="another problem's s",
        subset="other",
        look=Look(BLACK, "*", ".."),
        teacher="selfdistill.training.teacher:foreign_solution",
    ),
)
CONTEXTS: dict[str, Context] = {context.name: context for context in _DECLARED}
"""All contexts in order of increasing information about the problem; the control comes last."""
SECTION_3 = tuple(context.name for context in _DECLARED if context.section_3)
"""Contexts of section 3, in order of increasing information."""
TEACHER = tuple(context.name for context in _DECLARED if context.teacher)
"""Contexts of SDPO's teacher."""
NONE = "none"
"""The context of a run without one."""
