"""Prompts: thinking is really stripped for the three template quirks, and teacher prompts are the authors' text."""

import pytest

from selfdistill.models.prompts import (
    last_boxed,
    prompt_ids,
    reprompt_user_turn,
    section_3_user_turn,
    strip_thinking,
    thinking_text,
)
from selfdistill.organism.tokenizer import build_tokenizer

QUESTION = "find x : x +9 *5 = 6"
THINKING = "hmm perhaps 5 : 1 5 no wait check 6 : 2 10 no likely 4"
RESPONSES = {
    "r1": f"{THINKING} </think> \\boxed{{4}}",
    "qwen3": f"<think> {THINKING} </think> \\boxed{{4}}",
    "olmo3": f"{THINKING} \\boxed{{4}}",
}


@pytest.mark.parametrize("template", RESPONSES)
def test_thinking_is_stripped_to_the_answer(template):
    assert strip_thinking(RESPONSES[template], template) == "\\boxed{4}"
    assert thinking_text(RESPONSES[template], template) == THINKING


@pytest.mark.parametrize("template", RESPONSES)
def test_response_truncated_inside_its_thinking_leaves_nothing(template):
    truncated = RESPONSES[template].partition(" likely")[0]
    assert strip_thinking(truncated, template) == ""


def test_unmatched_close_and_matched_block_follow_the_authors_rule():
    assert strip_thinking("<think>a</think>  b <think>c</think> d", "qwen3") == "b d"
    assert strip_thinking("a </think> b", "qwen3") == "b"
    assert strip_thinking("no tags at all \\boxed{1}", "qwen3") == "no tags at all \\boxed{1}"


def test_unknown_template_is_named():
    with pytest.raises(ValueError, match="unknown template 'llama'.*r1, qwen3, olmo3"):
        strip_thinking("x", "llama")


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("a \\boxed{1} b \\boxed{\\frac{1}{2}} c", "\\boxed{\\frac{1}{2}}"),
        ("\\boxed{1} then \\boxed{2", "\\boxed{1}"),
        ("none", ""),
    ],
)
def test_last_boxed_balances_braces(text, box):
    assert last_boxed(text) == box


GOLDEN_TEACHER = {
    (
        "r1",
        "prompt-tag",
    ): "<|user|> {q} Correct solution: \\boxed{{4}} Correctly solve the original question. <|assistant|> <think>",
    (
        "qwen3",
        "on",
    ): "<|user|> {q} Correct solution: \\boxed{{4}} Correctly solve the original question. <|assistant|>",
    ("qwen3", "off"): (
        "<|user|> {q} Correct solution: \\boxed{{4}} Correctly solve the original question. <|assistant|> <think> </think>"
    ),
    (
        "olmo3",
        "none",
    ): "<|user|> {q} Correct solution: \\boxed{{4}} Correctly solve the original question. <|assistant|>",
}


@pytest.mark.parametrize(("template", "thinking"), GOLDEN_TEACHER)
def test_teacher_prompt_without_thinking_is_golden(template, thinking):
    tokenizer = build_tokenizer(template)
    turn = reprompt_user_turn(QUESTION, strip_thinking(RESPONSES[template], template))
    text = tokenizer.decode(prompt_ids(tokenizer, [turn], thinking)[0])
    assert text == GOLDEN_TEACHER[template, thinking].format(q=QUESTION)
    assert "perhaps" not in text


def test_templates_are_the_authors_text():
    assert (
        section_3_user_turn("Q", "S") == "Q\n\nCorrect solution: S\n\nCorrectly solve the original question."
    )
    assert reprompt_user_turn("Q", "\\boxed{}") == (
        "Q\nCorrect solution:\n\n\\boxed{}\n\nCorrectly solve the original question."
    )
