r"""The prompt texts of the study: what the student sees, what the teacher sees, and how thinking is removed.

Paper: section 3 (the four contexts) and section 5 (SDPO's teacher). The templates are the authors' own, verbatim (paper.md 4.1
and 4.3). Families differ in where the opening `<think>` tag is (vocabulary.families).

Templates are f-strings and never use `str.format`, which would take `\boxed{}` in a problem or solution for a field (TRL's
templates raise IndexError on it).
"""

import re
from typing import TYPE_CHECKING

from selfdistill.vocabulary.families import OFF, ON, family_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
CLOSING_SENTENCE = "Correctly solve the original question."

_MATCHED_TRACE = re.compile(r"<think>.*?</think>\s*", flags=re.DOTALL)
_UNMATCHED_CLOSE = re.compile(r"^.*?</think>\s*", flags=re.DOTALL)
_BOXED_START = re.compile(r"\\boxed\s*\{")


def section_3_user_turn(question: str, solution: str) -> str:
    """Return the user turn of a solution-conditioned generation in section 3 (authors' `eval_with_hint`, paper.md 4.1)."""
    return f"{question}\n\nCorrect solution: {solution}\n\n{CLOSING_SENTENCE}"


def reprompt_user_turn(question: str, solution: str) -> str:
    """Return the user turn of SDPO's teacher (authors' reprompt and solution templates without feedback, paper.md 4.3)."""
    return f"{question}\n{reference_user_turn(question, solution)}"


def hint_user_turn(question: str, hint: str) -> str:
    """Return the user turn with a hint, as the organism's pre-training documents write it; hint: a word of `problems.hints`."""
    return f"{question} Hint: x is {hint} {CLOSING_SENTENCE}"


def reference_user_turn(question: str, solution: str) -> str:
    """Return the user turn of SDPO's teacher without its question."""
    return f"Correct solution:\n\n{solution}\n\n{CLOSING_SENTENCE}"


def bare_user_turn(question: str, solution: str) -> str:
    """Return the student's user turn: the question, without what other contexts show."""
    return question


def strip_thinking(response: str, template: str) -> str:
    r"""Return the part of `response` that remains in c = s\think.

    `r1` and `qwen3` follow the authors' `_remove_thinking_trace`: remove matched `<think>…</think>` blocks, then everything up to
    and including a leading unmatched `</think>` (in `r1` the opening tag is in the prompt; TRL's own regex misses this case). A
    response that was truncated inside its thinking has no answer part: the result is empty, never the thinking.

    DEVIATION: `olmo3` writes no tags, so the authors' rule would leave s unchanged, and c = s\think would equal c = s. Here the
    answer part of an untagged response is its last `\boxed{…}`, or empty if it has none.

    >>> strip_thinking("hmm 5 no wait 8 yes </think> \\boxed{8}", "r1")
    '\\boxed{8}'
    """
    family = family_of(template)
    if not family.has_tags:
        return last_boxed(response)
    text = _MATCHED_TRACE.sub("", response)
    if THINK_CLOSE in text:
        text = _UNMATCHED_CLOSE.sub("", text)
    elif THINK_OPEN in text:
        text = text[: text.index(THINK_OPEN)]
    elif family.opens_in_prompt and THINK_CLOSE not in response:
        return ""
    return text.strip()


def thinking_text(response: str, template: str) -> str:
    """Return the thinking of `response` without tags; for an untagged response, everything before its last box."""
    family = family_of(template)
    if not family.has_tags:
        boxed = last_boxed(response)
        return response[: response.rindex(boxed)].strip() if boxed else response.strip()
    if THINK_CLOSE in response:
        return response[: response.rindex(THINK_CLOSE)].replace(THINK_OPEN, "", 1).strip()
    opened = family.opens_in_prompt or response.lstrip().startswith(THINK_OPEN)
    return response.replace(THINK_OPEN, "", 1).strip() if opened else ""


def last_boxed(text: str) -> str:
    r"""Return the last `\boxed{…}` of `text` with balanced braces, including the box; empty if there is none."""
    starts = list(_BOXED_START.finditer(text))
    for start in reversed(starts):
        depth = 0
        for position in range(start.end() - 1, len(text)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                return text[start.start() : position + 1]
    return ""


def chat_template_kwargs(thinking: str) -> dict[str, bool]:
    """Return the keyword arguments of `apply_chat_template` for a thinking mode (`on` or `off`; other modes take none)."""
    return {"enable_thinking": thinking == ON} if thinking in (ON, OFF) else {}


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", user_turns: list[str], thinking: str) -> list[list[int]]:
    """Return the token ids of single-turn prompts with generation prompt, the same for students and teachers."""
    conversations = [[{"role": "user", "content": turn}] for turn in user_turns]
    encoded = tokenizer.apply_chat_template(
        conversations,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        **chat_template_kwargs(thinking),
    )
    return encoded["input_ids"]
