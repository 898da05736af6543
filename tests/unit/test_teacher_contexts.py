"""What the teacher sees: its prompt under every context, for every family, and whose response it shows."""

import random
from dataclasses import replace
from types import SimpleNamespace

import pandas
import pytest
import tiny
import torch

from selfdistill.organism.chains import Chain
from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.organism.traces import _hint
from selfdistill.problems.hints import half, parity
from selfdistill.training.sdpo import teacher_options, train_sdpo
from selfdistill.training.teacher import (
    RolloutBatch,
    TeacherContextBuilder,
    foreign_demonstrations,
    sibling_demonstrations,
    sibling_random,
)

QUESTION = "find x : x *5 = 1"
OTHER = "find x : x *2 = 6"
# per family: prompt up to the response, a successful response, and its part without thinking
FAMILIES = {
    "r1": ("<|assistant|> <think>", "try 5 no try 8 yes </think> \\boxed{8}", "\\boxed{8}"),
    "qwen3": ("<|assistant|>", "<think> try 5 no try 8 yes </think> \\boxed{8}", "\\boxed{8}"),
    "olmo3": ("<|assistant|>", "try 5 no try 8 yes \\boxed{8}", "\\boxed{8}"),
}
THINKING = {"r1": "prompt-tag", "qwen3": "on", "olmo3": "none"}


def build_context(
    template: str,
    context: str,
    responses: list[str],
    rewards: list[float],
    questions=None,
    limit=99,
    thinking=None,
    answers=(),
    seed=0,
    group=2,
):
    """What the builder makes of two groups of rollouts, as text: (teacher inputs, mask of the loss)."""
    tokenizer = build_tokenizer(template)
    args = SimpleNamespace(num_generations=group, success_reward_threshold=0.5, max_reprompt_len=limit)
    trainer = SimpleNamespace(args=args, _tokenizer=tokenizer, run_seed=seed, rollout_step=0)
    builder = TeacherContextBuilder(
        trainer, context=context, template=template, thinking=thinking or THINKING[template]
    )
    ids = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in responses]
    width = max(map(len, ids))
    output = {
        "completion_ids": torch.tensor([row + [tokenizer.pad_token_id] * (width - len(row)) for row in ids]),
        "completion_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids]),
        "raw_completion_lengths": torch.tensor([len(row) for row in ids]),
    }
    questions = questions or [QUESTION] * len(responses)
    problems = [{"problem_id": "p", "answers": own} for own in answers]
    prompts = [[{"role": "user", "content": q}] for q in questions]
    built = builder.build(output, prompts, torch.tensor(rewards), problems)
    rows = zip(built["teacher_input_ids"], built["teacher_attention_mask"].bool(), strict=True)
    return [tokenizer.decode(row[keep]) for row, keep in rows], built["self_distillation_mask"].tolist()


def reprompt(question: str, solution: str, generation: str, own: str) -> str:
    """The whole teacher input in words."""
    hint = f"Correct solution: {solution} Correctly <unk> the original question."
    return f"<|user|> {question} {hint.replace('<unk>', 'solve')} {generation} {own} <eos>"


def test_a_hybrid_teacher_thinks_and_its_student_does_not(tmp_path):
    student = tiny.job(tmp_path, "sdpo", tiny.SDPO).model_copy(update={"thinking": "off"})
    own = student.settings.model_copy(update={"teacher_thinking": "on"})
    hybrid = student.model_copy(update={"settings": own})
    assert teacher_options(student)["thinking"] == "off"
    assert teacher_options(hybrid) == {"context": "solution", "template": "qwen3", "thinking": "on"}
    answers = ["so 3 \\boxed{3}", "try 8 yes \\boxed{8}"]
    plain, _ = build_context("qwen3", "solution", answers, [0.0, 1.0], thinking="off")
    thinking, _ = build_context("qwen3", "solution", answers, [0.0, 1.0], thinking="on")
    assert plain[0] == reprompt(QUESTION, answers[1], "<|assistant|> <think> </think>", answers[0])
    assert thinking[0] == reprompt(QUESTION, answers[1], "<|assistant|>", answers[0])


@pytest.mark.parametrize("template", FAMILIES)
@pytest.mark.parametrize("context", ["solution", "answer-only"])
def test_teacher_prompt_shows_the_sibling_with_or_without_its_thinking(template, context):
    generation, solved, answer = FAMILIES[template]
    texts, mask = build_context(template, context, ["so 3 \\boxed{3}", solved], [0.0, 1.0])
    shown = answer if context == "answer-only" else solved
    assert texts[0] == reprompt(QUESTION, shown, generation, "so 3 \\boxed{3}")
    assert mask == [1.0, 0.0]  # the only success has no other one to learn from
    assert texts[1] == f"<|user|> {QUESTION} {generation} {solved} <eos>"


@pytest.mark.parametrize("template", FAMILIES)
def test_answer_only_contains_no_thinking_where_solution_does(template):
    responses, rewards = ["so 3 \\boxed{3}", FAMILIES[template][1]], [0.0, 1.0]
    (rich, _), _ = build_context(template, "solution", responses, rewards)
    (poor, _), _ = build_context(template, "answer-only", responses, rewards)
    assert "try 5 no" in rich and "try" not in poor


def test_teacher_prompt_follows_the_thinking_switch_of_the_student():
    texts, _ = build_context("qwen3", "solution", ["so 3", "\\boxed{8}"], [0.0, 1.0], thinking="off")
    assert "question. <|assistant|> <think> </think> so 3 <eos>" in texts[0]


def test_thinking_without_an_answer_is_no_demonstration():
    _, mask = build_context("r1", "answer-only", ["so 3", "try 8 yes"], [0.0, 1.0])
    assert mask == [0.0, 0.0]


def test_other_solution_shows_another_problem_to_the_same_rows():
    responses = ["so 1", "\\boxed{8}", "so 2", "\\boxed{3}"]
    rewards, questions = [0.0, 1.0, 0.0, 1.0], [QUESTION, QUESTION, OTHER, OTHER]
    own, own_mask = build_context("olmo3", "solution", responses, rewards, questions)
    texts, mask = build_context("olmo3", "other-solution", responses, rewards, questions)
    assert mask == own_mask == [1.0, 0.0, 1.0, 0.0]
    assert "\\boxed{8}" in own[0] and "\\boxed{3}" not in own[0]
    assert "\\boxed{3}" in texts[0] and "\\boxed{8}" not in texts[0]
    assert "\\boxed{8}" in texts[2] and texts[2].startswith(f"<|user|> {OTHER}")


# one group: the row asks, then a wrong, a long right, a short right and a right response of the short one's length
GROUP = [
    "so 3 \\boxed{3}",
    "so 4 \\boxed{4}",
    "try 5 no try 8 yes \\boxed{8}",
    "so 8 \\boxed{8}",
    "x = 8 \\boxed{8}",
]
GROUP_REWARDS = [0.0, 0.0, 1.0, 1.0, 1.0]
ANSWERS = [["8"]] * len(GROUP)
SHOWN_TURNS = {
    "wrong-solution": f"{QUESTION} Correct solution: {GROUP[1]} Correctly solve the original question.",
    "solution-shortest": f"{QUESTION} Correct solution: {GROUP[3]} Correctly solve the original question.",
    "hint-parity": f"{QUESTION} Hint: x is even Correctly solve the original question.",
    "hint-half": f"{QUESTION} Hint: x is high Correctly solve the original question.",
    "reference-only": f"Correct solution: {GROUP[2]} Correctly solve the original question.",
    "no-text": QUESTION,
}


@pytest.mark.parametrize("context", SHOWN_TURNS)
def test_contexts_beyond_the_paper_show_what_they_say_to_the_rows_of_solution(context):
    texts, mask = build_context("olmo3", context, GROUP, GROUP_REWARDS, answers=ANSWERS, group=5)
    _, rows = build_context("olmo3", "solution", GROUP, GROUP_REWARDS, group=5)
    assert texts[0] == f"<|user|> {SHOWN_TURNS[context]} <|assistant|> {GROUP[0]} <eos>"
    assert mask == rows == [1.0] * 5
    _, none = build_context("olmo3", context, GROUP[:2], [0.0, 0.0], answers=ANSWERS[:2])
    assert none == [0.0, 0.0]  # no right sibling, no demonstration


def test_a_wrong_solution_is_wrong_and_none_is_shown_where_all_others_are_right():
    texts, mask = build_context("olmo3", "wrong-solution", GROUP[2:], [0.0, 1.0, 1.0], group=3)
    assert mask == [0.0, 1.0, 1.0] and all(GROUP[2] in text for text in texts[1:])


def test_a_random_demonstration_is_a_success_that_depends_on_seed_and_rollout_only():
    batch = RolloutBatch([QUESTION] * 8, [1.0] * 7 + [0.0], str, 8, 0.5, "olmo3", seed=3)
    shown = sibling_random(batch)
    assert shown == sibling_random(batch) != sibling_random(replace(batch, seed=4))
    assert len(set(shown)) > 2 and "7" not in shown and all(text != str(i) for i, text in enumerate(shown))
    # the second of two processes with a group each
    double = replace(batch, questions=[QUESTION] * 16, rewards=[*batch.rewards] * 2)
    second = sibling_random(replace(batch, first=8))
    assert sibling_random(double) == [*shown, *(str(int(text) + 8) for text in second)]


def test_hints_are_those_of_the_organisms_documents():
    chain = Chain("d1", (("*5",),), (1,))
    drawn = {_hint(chain, random.Random(i))[0] for i in range(20)}
    assert drawn == {parity(chain.roots()[0]), half(chain.roots()[0])} == {"even", "high"}


@pytest.mark.parametrize("answer", ["13", "-1", "1/2", "B", "3.0"])
def test_hints_on_what_is_no_integer_of_the_organism_are_refused(answer):
    with pytest.raises(ValueError, match=r"hints need answers from 0 to 12"):
        build_context("olmo3", "hint-parity", GROUP, GROUP_REWARDS, answers=[[answer]] * 5, group=5)


def test_the_trainer_gives_a_context_the_answers(tmp_path):
    job = tiny.job(tmp_path, "sdpo", tiny.SDPO | {"steps": 1, "checkpoint_every": 1}, context="hint-parity")
    train_sdpo(job, tiny.coin_reward)
    assert pandas.read_parquet(job.output / "rollouts.parquet")["has_demonstration"].any()


def test_reprompt_is_cut_on_the_right_and_the_completion_stays():
    (text, _), _ = build_context("olmo3", "solution", ["so 3", FAMILIES["olmo3"][1]], [0.0, 1.0], limit=10)
    assert text == f"<|user|> {QUESTION} Correct solution: so 3 <eos>"


def test_unknown_context_is_refused():
    with pytest.raises(ValueError, match=r"regeneration.*answer-only, solution"):
        TeacherContextBuilder(None, context="regeneration", template="r1", thinking="on")


def test_demonstration_is_the_first_other_success_of_the_group():
    rewards = [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.4]
    assert sibling_demonstrations(rewards, 4, 0.5) == [1, 2, 1, 1, 6, 6, None, 6]
    assert sibling_demonstrations([0.0] * 4, 4, 0.5) == [None] * 4


def test_foreign_demonstration_belongs_to_another_question():
    assert foreign_demonstrations([1, None, 3, 3], ["a", "a", "b", "b"]) == [3, None, 1, 1]
    assert foreign_demonstrations([1, 0], ["a", "a"]) == [None, None]
