"""Position classes: exact in the organism's language, sensible in free text, and the same for every tokenizer."""

import random

import pytest

from selfdistill.grading.positions import token_positions, word_positions
from selfdistill.organism.chains import draw_chain
from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.organism.traces import Style, render, search
from selfdistill.vocabulary.token_classes import POSITIONS


def words(response: str) -> list[tuple[str, str]]:
    return [(response[start:end], name) for start, end, name in word_positions(response)]


@pytest.mark.parametrize(
    ("response", "found"),
    [
        (
            r"maybe 5 : 1 5 = 6 no wait perhaps 7 : 1 7 = 7 yes </think> \boxed{7}",
            "maybe=opener 5=candidate perhaps=fork 7=candidate \\boxed{7}=answer",
        ),
        (
            r"<think> hmm maybe 5 : 6 = 6 actually no likely 7 </think> \boxed{7}",
            "hmm=opener maybe=opener 5=candidate likely=fork 7=candidate \\boxed{7}=answer",
        ),
        (r"so 5 : 1 5 = 6 thus \boxed{5}", "so=opener 5=candidate \\boxed{5}=answer"),
        (r"x = 5 : 6 = 6 wait no try 3", "x=opener 5=candidate try=fork 3=candidate"),
        (
            r"Okay, let me see now. We try x = 12. Wait, that fails. Maybe x is 11? So \boxed{\frac{1}{2}}.",
            "Okay=opener let=opener me=opener see=opener 12=candidate that=fork 11=candidate \\boxed{\\frac{1}{2}}=answer",
        ),
        (r"try 5 \boxed{5} no \boxed{6}", "try=opener 5=candidate \\boxed{6}=answer"),
        ("", ""),
    ],
)
def test_classes_of_words(response, found):
    shown = [tuple(pair.rsplit("=", 1)) for pair in found.split()]
    assert words(response) == shown


def test_every_try_of_the_organism_is_a_candidate_and_every_next_try_has_a_fork():
    rng = random.Random(0)
    for _ in range(50):
        chain = draw_chain("d3", rng, "train")
        thinking, answer = search(chain, rng, Style(giveup=0, slip=0, false_yes=0, max_tries=99))
        found = [name for _, name in words(render(thinking, answer, "r1", "on"))]
        tries = thinking.split().count(":")
        assert found.count("candidate") == tries and found.count("fork") == tries - 1
        assert found[0] == "opener" and found[-1] == "answer"


def test_tokens_have_the_class_of_their_last_character():
    text = "maybe 5 : no wait perhaps 7 \\boxed{7}"
    encoded = build_tokenizer("r1")(text, return_offsets_mapping=True)
    by_word = [POSITIONS[i] for i in token_positions(text, encoded["offset_mapping"])]
    assert by_word == ["opener", "candidate", "other", "other", "other", "fork", "candidate", "answer"]
    pieces = [(0, 3), (3, 5), (5, 7), (0, 0), (18, 25), (28, 30)]  # may | be |  5 | special |  perhaps | \b
    by_piece = [POSITIONS[i] for i in token_positions(text, pieces)]
    assert by_piece == ["opener", "opener", "candidate", "other", "fork", "answer"]
    assert token_positions(text, []).shape == (0,)
