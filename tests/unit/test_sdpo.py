"""SDPO: teacher prompts of the three families, demonstrations, and the loss that the trainer really
minimises.
"""

import math
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
from selfdistill.seeds import derive_seed
from selfdistill.training.arguments import sdpo_arguments
from selfdistill.training.datasets import problem_schedule
from selfdistill.training.on_policy import build_trainer
from selfdistill.training.sdpo import SelfDistillationTrainer, teacher_options, train_sdpo
from selfdistill.training.teacher import (
    RolloutBatch,
    TeacherContextBuilder,
    foreign_demonstrations,
    sibling_demonstrations,
    sibling_random,
)
from selfdistill.vocabulary.teachers import update_rate

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


def test_schedule_repeats_problems_evenly_and_depends_on_the_seed_only():
    order = problem_schedule(8, 24, 0)
    assert all(order.count(problem) == 3 for problem in range(8))
    assert order == problem_schedule(8, 48, 0)[:24] != problem_schedule(8, 24, 1)
    assert problem_schedule(1, 12, 0) == [0] * 12


def test_independent_draws_leave_as_many_problems_unseen_as_the_papers():
    """25,600 draws from 17,400 problems: the paper saw 78 % of them, in turn it would be all."""
    order = problem_schedule(17_400, 25_600, 0, independent=True)
    assert len(set(order)) / 17_400 == pytest.approx(1 - math.exp(-25_600 / 17_400), abs=0.01)
    assert order == problem_schedule(17_400, 25_600, 0, independent=True)
    assert order != problem_schedule(17_400, 25_600, 1, independent=True)
    assert len(set(problem_schedule(17_400, 25_600, 0))) == 17_400


@pytest.mark.parametrize(("draws", "all_drawn"), [("in-turn", True), ("independent", False)])
def test_the_study_says_how_problems_are_drawn(tmp_path, draws, all_drawn):
    trainer = sgd_trainer(tmp_path, draws=draws, prompts=6)
    assert (len(set(trainer.train_dataset["problem_id"])) == 6) is all_drawn


@pytest.mark.parametrize(
    ("name", "rate"), [("fixed", 0.0), ("ema-0.05", 0.05), ("ema-.5", 0.5), ("snapshot-10", 1.0)]
)
def test_teacher_names(name, rate):
    assert update_rate(name) == rate


@pytest.mark.parametrize(
    "name", ["none", "ema", "ema-", "ema-0", "ema-1", "ema-1.5", "live", "snapshot-0", "snapshot-"]
)
def test_unknown_teacher_names_are_refused(name):
    with pytest.raises(ValueError, match="unknown teacher"):
        update_rate(name)


def sgd_trainer(folder, **changes):
    """A trainer with plain gradient descent, so that weights show gradients."""
    job = tiny.job(
        folder,
        "sdpo",
        tiny.SDPO | {"steps": 1, "warmup_steps": 0, "learning_rate": 1.0, "checkpoint_every": 1} | changes,
        seed=2,  # its rollouts differ in length, and some have no demonstration
    )
    arguments = sdpo_arguments(job.settings, job.run.teacher, job.thinking, job.resume, job.seed)
    arguments = replace(arguments, optim="sgd", weight_decay=0.0, generation_batch_size=None)
    options = {"context": "solution", "template": job.template, "thinking": job.thinking}
    return build_trainer(SelfDistillationTrainer, job, arguments, tiny.coin_reward, **options)


def log_probs(model, prompt: list[int], completion: list[int]) -> torch.Tensor:
    """Log-probabilities over the vocabulary at every completion token, (tokens, vocabulary), without any
    padding.
    """
    return model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)


def generalised_jsd(student: torch.Tensor, teacher: torch.Tensor, top_k: int) -> torch.Tensor:
    """Authors' loss at alpha 0.5 per token, in plain PyTorch."""
    support = student.topk(top_k, dim=-1).indices
    s, t = (x.exp().gather(-1, support) for x in (student, teacher))
    s, t = (torch.cat([x, 1 - x.sum(-1, keepdim=True)], dim=-1) for x in (s, t))
    m = (s + t) / 2
    return 0.5 * (s * (s / m).log()).sum(-1) + 0.5 * (t * (t / m).log()).sum(-1)


def unpadded(ids: torch.Tensor, mask: torch.Tensor) -> list[int]:
    return ids[mask.bool()].tolist()


def test_trainer_minimises_the_papers_loss_over_all_tokens_of_the_mini_batch(tmp_path):
    trainer = sgd_trainer(tmp_path, updates_per_step=1, max_new_tokens=40)
    reference = type(trainer.model)(trainer.model.config)
    reference.load_state_dict(trainer.model.state_dict())
    trainer.train()
    batch = trainer._buffered_inputs[0]
    total, tokens, lengths = 0.0, 0, set()
    for i in range(16):
        if not batch["self_distillation_mask"][i]:
            continue
        prompt = unpadded(batch["prompt_ids"][i], batch["prompt_mask"][i])
        completion = unpadded(batch["completion_ids"][i], batch["completion_mask"][i])
        teacher_input = unpadded(batch["teacher_input_ids"][i], batch["teacher_attention_mask"][i])
        assert teacher_input[-len(completion) :] == completion
        student = log_probs(reference, prompt, completion)
        with torch.no_grad():
            teacher = log_probs(reference, teacher_input[: -len(completion)], completion)
        total = total + generalised_jsd(student, teacher, 20).sum()
        tokens, lengths = tokens + len(completion), lengths | {len(completion)}
    assert 0 < tokens < int(batch["completion_mask"].sum()) and len(lengths) > 1
    loss = total / tokens
    assert trainer.state.log_history[0]["loss"] == pytest.approx(loss.item(), rel=1e-3)
    loss.backward()
    for (name, trained), (_, before) in zip(
        trainer.model.named_parameters(), reference.named_parameters(), strict=True
    ):
        torch.testing.assert_close(trained, before - before.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_accumulating_micro_batches_equals_one_mini_batch(tmp_path):
    trainers = [sgd_trainer(tmp_path, micro_batch=size, max_new_tokens=40) for size in (None, 2)]
    for trainer in trainers:
        trainer.train()
    assert [t.args.gradient_accumulation_steps for t in trainers] == [1, 4]
    padded = [sum(b["completion_ids"].numel() for b in t._buffered_inputs) for t in trainers]
    assert padded[1] < 0.95 * padded[0]  # rows of like length share a micro-batch
    for whole, split in zip(*(t.model.parameters() for t in trainers), strict=True):
        torch.testing.assert_close(whole, split, rtol=1e-4, atol=1e-6)
    whole, split = ([log["loss"] for log in t.state.log_history if "loss" in log] for t in trainers)
    assert whole == pytest.approx(split, rel=1e-4)


@pytest.mark.parametrize("drawn", [True, False], ids=["as drawn", "by a forward pass"])
def test_later_mini_batches_are_weighted_by_the_policy_at_rollout_time(tmp_path, monkeypatch, drawn):
    if not drawn:
        monkeypatch.setattr(SelfDistillationTrainer, "draws_from_policy", False)
    trainer = sgd_trainer(tmp_path)
    forward_passes = tiny.count_calls(monkeypatch, SelfDistillationTrainer, "current_log_probs")
    before = type(trainer.model)(trainer.model.config)
    before.load_state_dict(trainer.model.state_dict())
    trainer.train()
    assert bool(forward_passes) is not drawn
    first, second = trainer._buffered_inputs
    assert "old_per_token_logps" not in first
    rows = second["self_distillation_mask"].nonzero().flatten().tolist()
    assert 1 < len(rows) < 8
    for row in rows:
        prompt = unpadded(second["prompt_ids"][row], second["prompt_mask"][row])
        completion = unpadded(second["completion_ids"][row], second["completion_mask"][row])
        with torch.no_grad():
            drawn_log_probs = log_probs(before, prompt, completion)
        expected = drawn_log_probs.gather(1, torch.tensor(completion)[:, None]).squeeze(1)
        actual = second["old_per_token_logps"][row, : len(completion)]
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("teacher", ["fixed", "ema-0.25"])
def test_teacher_moves_by_its_rate_per_update_or_not_at_all(tmp_path, teacher):
    job = tiny.job(
        tmp_path, "sdpo", tiny.SDPO | {"steps": 1, "warmup_steps": 0, "checkpoint_every": 1}, teacher=teacher
    )
    arguments = sdpo_arguments(job.settings, teacher, job.thinking, job.resume, job.seed)
    options = {"context": "solution", "template": job.template, "thinking": job.thinking}
    trainer = build_trainer(SelfDistillationTrainer, job, arguments, tiny.coin_reward, **options)
    start = [p.clone() for p in trainer.teacher_model.parameters()]
    students = []
    trainer.add_callback(
        tiny.AfterUpdate(lambda model: students.append([p.detach().clone() for p in model.parameters()]))
    )
    trainer.train()
    expected = start
    for student in students:
        rate = 0.25 if teacher != "fixed" else 0.0
        expected = [(1 - rate) * old + rate * new for old, new in zip(expected, student, strict=True)]
    assert len(students) == 2
    for actual, wanted in zip(trainer.teacher_model.parameters(), expected, strict=True):
        torch.testing.assert_close(actual, wanted)


def test_a_snapshot_teacher_is_the_student_of_the_last_multiple_of_its_steps(tmp_path):
    job = tiny.job(tmp_path, "sdpo", tiny.SDPO | {"steps": 3, "warmup_steps": 0}, teacher="snapshot-2")
    arguments = sdpo_arguments(job.settings, job.run.teacher, job.thinking, job.resume, job.seed)
    trainer = build_trainer(SelfDistillationTrainer, job, arguments, tiny.coin_reward, **teacher_options(job))
    students = []
    trainer.add_callback(
        tiny.AfterUpdate(lambda model: students.append([p.detach().clone() for p in model.parameters()]))
    )
    trainer.train()
    assert len(students) == 6  # two updates per step
    for teacher, student in zip(trainer.teacher_model.parameters(), students[3], strict=True):
        torch.testing.assert_close(teacher, student, rtol=0, atol=0)
    assert not all(torch.equal(a, b) for a, b in zip(students[3], students[5], strict=True))


def test_a_step_without_any_success_trains_nothing_and_says_so(tmp_path):
    job = tiny.job(tmp_path, "sdpo", tiny.SDPO | {"steps": 1, "weight_decay": 0.0, "checkpoint_every": 1})
    train_sdpo(job, lambda responses, answers: tiny.graded([0.0] * len(responses)))
    assert tiny.same_weights(job.base, job.output / "checkpoints" / "step-1")
    row = pandas.read_parquet(job.output / "training.parquet").iloc[0]
    assert row["demonstration_fraction"] == 0.0 and row["loss"] == 0.0 and row["score"] == 0.0


def test_top_k_beyond_the_vocabulary_is_refused_before_training(tmp_path):
    job = tiny.job(tmp_path, "sdpo", tiny.SDPO | {"top_k": 1000})
    with pytest.raises(ValueError, match="top_k is 1000"):
        train_sdpo(job, tiny.coin_reward)


def test_records_tell_what_happened(tmp_path):
    job = tiny.job(tmp_path, "sdpo", tiny.SDPO)
    train_sdpo(job, tiny.coin_reward)
    rollouts = pandas.read_parquet(job.output / "rollouts.parquet")
    training = pandas.read_parquet(job.output / "training.parquet")
    assert len(rollouts) == 4 * 16 and list(training["step"]) == [0, 1, 2, 3]
    assert rollouts["score"].tolist() == [
        grade.score for grade in tiny.coin_reward(rollouts["response"], None)
    ]
    by_step = rollouts.groupby("step")
    assert training["score"].tolist() == by_step["score"].mean().tolist()
    assert training["tokens"].tolist() == by_step["response_tokens"].sum().cumsum().tolist()
    assert training["demonstration_fraction"].tolist() == by_step["has_demonstration"].mean().tolist()
    assert not rollouts.duplicated(["step", "problem_id", "sample_index"]).any()
    demonstrations = sibling_demonstrations(rollouts["score"].tolist(), 4, 0.5)
    shown = [d is not None and rollouts["response"][d] != "" for d in demonstrations]
    assert rollouts["has_demonstration"].tolist() == shown
    tokens = [len(build_tokenizer("qwen3")(text)["input_ids"]) for text in rollouts["response"]]
    assert (rollouts["response_tokens"] - tokens).between(0, 10).all()
    assert sorted(p.name for p in (job.output / "checkpoints").glob("step-*")) == ["step-2", "step-4"]


def test_rollouts_come_from_the_runs_own_stream(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "selfdistill.training.rollouts.derive_seed", lambda *names: seen.append(names) or derive_seed(*names)
    )
    train_sdpo(tiny.job(tmp_path, "sdpo", tiny.SDPO | {"steps": 2}), tiny.coin_reward)
    assert [names for names in seen if "rollout" in names] == [(0, "rollout", 0), (0, "rollout", 1)]
