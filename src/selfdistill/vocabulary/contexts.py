r"""The contexts: what a model sees in addition to the question when it responds or teaches (paper: sections 3 and 5).

A context is declared here and nowhere else. `section_3` and `teacher` name the functions (`module:function`) that
make it: for the base's own responses, and for SDPO's teacher. A context without such a function cannot be used there,
and a study file that asks for it is rejected.
"""

from dataclasses import dataclass

from selfdistill.vocabulary.looks import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, Look


@dataclass(frozen=True)
class Context:
    """One context.

    symbol: the paper's notation; subset: index of the paper's SFT data set D made of its responses; section_3: function
    of sampling.section_3 that returns what each problem's prompt shows; teacher: function of training.teacher that
    returns what each rollout's teacher prompt shows; optional: section 3 answers under it only if the study asks; turn:
    function (question, shown) -> user turn, where it is not the authors'; hint: it needs the answers of an organism's problems;
    instruction: it asks for something in words that no organism knows.
    """

    name: str
    symbol: str
    subset: str
    look: Look
    section_3: str | None = None
    teacher: str | None = None
    optional: bool = False
    turn: str | None = None
    hint: bool = False
    instruction: bool = False


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
        section_3="selfdistill.sampling.section_3:foreign_correct",
        teacher="selfdistill.training.teacher:foreign_solution",
        optional=True,
    ),
    # beyond the paper: rows are those of `solution` (`wrong-solution`: those with a wrong sibling too), so that only the information differs
    Context(
        "wrong-solution",
        symbol="a wrong s",
        subset="wrong",
        look=Look(BLACK, "X", "++"),
        section_3="selfdistill.sampling.section_3:first_wrong",
        teacher="selfdistill.training.teacher:sibling_wrong",
        optional=True,
    ),
    Context(
        "hint-parity",
        symbol="c=parity",
        subset="parity",
        look=Look(SKY, "<", "\\\\"),
        section_3="selfdistill.sampling.section_3:parity_hint",
        teacher="selfdistill.training.teacher:parity_hint",
        optional=True,
        turn="selfdistill.models.prompts:hint_user_turn",
        hint=True,
    ),
    Context(
        "hint-half",
        symbol="c=half",
        subset="half",
        look=Look(SKY, ">", "//"),
        section_3="selfdistill.sampling.section_3:half_hint",
        teacher="selfdistill.training.teacher:half_hint",
        optional=True,
        turn="selfdistill.models.prompts:hint_user_turn",
        hint=True,
    ),
    Context(
        "reference-only",
        symbol="s without x",
        subset="reference",
        look=Look(PURPLE, "p", "--"),
        teacher="selfdistill.training.teacher:sibling_solution",
        turn="selfdistill.models.prompts:reference_user_turn",
    ),
    Context(
        "solution-random",
        symbol="c=random s",
        subset="random",
        look=Look(BLUE, "v", "\\\\"),
        teacher="selfdistill.training.teacher:sibling_random",
    ),
    Context(
        "solution-shortest",
        symbol="c=shortest s",
        subset="shortest",
        look=Look(BLUE, "d", "oo"),
        teacher="selfdistill.training.teacher:sibling_shortest",
    ),
    Context(
        "no-text",
        symbol="no text",
        subset="none",
        look=Look(GREY, "o", "oo"),
        teacher="selfdistill.training.teacher:sibling_solution",
        turn="selfdistill.models.prompts:bare_user_turn",
    ),
    # OPSDC / CRISP (arXiv 2603.05433): no solution, so that every rollout is in the loss; published with KL(s || q) (`alpha` 1), the
    # whole vocabulary, a teacher that is refreshed every 50 steps, and learning rate 1e-6. The wording is ours
    Context(
        "concise",
        symbol="be concise",
        subset="concise",
        look=Look(ORANGE, "8", "--"),
        teacher="selfdistill.training.teacher:concise",
        turn="selfdistill.models.instructions:instructed_user_turn",
        instruction=True,
    ),
)
CONTEXTS: dict[str, Context] = {context.name: context for context in _DECLARED}
"""All contexts: the paper's in order of increasing information about the problem, then controls and steps beyond it."""
PAPER_CONTEXTS = tuple(context.name for context in _DECLARED if context.section_3 and not context.optional)
"""The paper's contexts of section 3, in order of increasing information."""
FURTHER = tuple(context.name for context in _DECLARED if context.section_3 and context.optional)
"""Contexts under which section 3 answers too if the study asks for them."""
TEACHER = tuple(context.name for context in _DECLARED if context.teacher)
"""Contexts of SDPO's teacher."""
NONE = "none"
"""The context of a run without one."""
