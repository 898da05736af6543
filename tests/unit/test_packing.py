"""Micro-batches of a number of tokens: the grouping, what it saves at the paper's lengths, and trainings that stay the same."""

import random
from itertools import product

import numpy
import pytest
import tiny
import torch
from torch.optim import SGD

from selfdistill.training.arguments import grpo_arguments, sdpo_arguments
from selfdistill.training.grpo import GroupRelativeTrainer
from selfdistill.training.on_policy import build_trainer
from selfdistill.training.packing import SILENT, group_sizes
from selfdistill.training.sdpo import SelfDistillationTrainer, teacher_options


def partitions(rows: int):
    """Every way to cut a row of things into groups of neighbours."""
    for cuts in product((False, True), repeat=rows - 1):
        ends = [index + 1 for index, cut in enumerate(cuts) if cut] + [rows]
        yield [end - start for start, end in zip([0, *ends], ends, strict=False)]


def allowed(contexts, completions, sizes, limit) -> bool:
    """Whether no pass is too large or mixes rows with and without a loss."""
    start = 0
    for size in sizes:
        rows = slice(start, start + size)
        start += size
        width = max(max(contexts[rows]) + max(completions[rows]), 2)
        if (size > 1 and size * width > limit) or len(set(map(bool, completions[rows]))) > 1:
            return False
    return True


def padded_tokens(contexts, completions, sizes) -> int:
    """The tokens of all passes, padding included; sizes: rows of each pass."""
    total, start = 0, 0
    for size in sizes:
        rows = slice(start, start + size)
        total, start = total + size * max(max(contexts[rows]) + max(completions[rows]), SILENT), start + size
    return total


@pytest.mark.parametrize("seed", range(30))
def test_passes_are_as_few_as_the_limit_allows(seed):
    draw = random.Random(seed)
    rows = draw.randint(1, 9)
    completions = sorted(draw.choice((0, draw.randint(1, 30))) for _ in range(rows))
    contexts = [draw.randint(1, 12) if completion else 0 for completion in completions]
    limit = draw.randint(1, 90)
    sizes = group_sizes(contexts, completions, limit)
    assert sum(sizes) == rows and min(sizes) > 0 and allowed(contexts, completions, sizes, limit)
    fewest = min(len(cut) for cut in partitions(rows) if allowed(contexts, completions, cut, limit))
    assert len(sizes) == fewest


def test_passes_by_hand():
    assert group_sizes([0, 0, 5, 5, 5], [0, 0, 5, 10, 95], 100) == [2, 2, 1]
    assert padded_tokens([0, 0, 5, 5, 5], [0, 0, 5, 10, 95], [2, 2, 1]) == 4 + 30 + 100
    assert group_sizes([0] * 5, [0] * 5, 4) == [1, 2, 2]
    assert group_sizes([3], [99], 10) == [1]


@pytest.mark.parametrize(("silent", "fewest"), [(0.0, 4.0), (0.5, 8.0)])
def test_what_it_saves_at_the_papers_lengths(silent, fewest):
    """512 responses per GPU and step, 4,000 tokens on average and 20,480 at most, in two mini-batches; -s prints the numbers."""
    draw = numpy.random.default_rng(0)
    completions = numpy.minimum(draw.lognormal(numpy.log(4000) - 0.5, 1.0, 512).astype(int) + 1, 20_480)
    contexts = draw.integers(60, 400, 512)
    completions[draw.random(512) < silent] = 0
    contexts[completions == 0] = 0
    alone = together = padded = 0
    for half in (slice(0, 256), slice(256, 512)):
        order = numpy.argsort(completions[half], kind="stable")
        lengths = contexts[half][order].tolist(), completions[half][order].tolist()
        sizes = group_sizes(*lengths, 22_528)
        together, padded = together + len(sizes), padded + padded_tokens(*lengths, sizes)
        alone += padded_tokens(*lengths, [1] * 256)
    print(f"passes {512} -> {together}, tokens with padding {alone:,} -> {padded:,}")
    assert 512 / together > fewest and padded < 1.1 * alone


def trained(folder, method: str, **settings):
    """A trainer after two updates of plain gradient descent, and its passes; the rows of every second group have no loss."""
    base = {"grpo": tiny.GRPO, "sdpo": tiny.SDPO}[method]
    job = tiny.job(folder, method, base | {"steps": 1, "max_new_tokens": 40, "warmup_steps": 0} | settings)
    arguments = {
        "grpo": lambda: grpo_arguments(job.settings, "on", job.resume, 0),
        "sdpo": lambda: sdpo_arguments(job.settings, "fixed", "on", job.resume, 0),
    }[method]()
    arguments.weight_decay, arguments.lr_scheduler_type = 0.0, "constant"
    kind = {"grpo": GroupRelativeTrainer, "sdpo": SelfDistillationTrainer}[method]

    def reward(responses, answers):
        grades, none = tiny.coin_reward(responses, answers), tiny.graded([0] * len(responses))
        return [(none if row // 4 % 2 else grades)[row] for row in range(len(responses))]

    options = teacher_options(job) if method == "sdpo" else {}
    trainer = build_trainer(kind, job, arguments, reward, **options)
    trainer.optimizer = SGD(trainer.model.parameters(), lr=0.3)
    passes = []

    def note(module, inputs) -> None:
        if torch.is_grad_enabled():
            passes.append(tuple(inputs[0].shape))

    trainer.model.model.embed_tokens.register_forward_pre_hook(note)
    trainer.train()
    return trainer, passes


@pytest.mark.parametrize("fast", [True, False], ids=["shared prefixes", "plain"])
@pytest.mark.parametrize("method", ["grpo", "sdpo"])
def test_a_training_is_the_same_whatever_shares_a_pass(tmp_path, monkeypatch, method, fast):
    monkeypatch.setenv("SELFDISTILL_PLAIN", "0" if fast else "1")
    alone, one_by_one = trained(tmp_path / "rows", method, micro_batch=1)
    for limit in (1, 100, 10**6):
        shared, passes = trained(tmp_path / f"tokens-{limit}", method, micro_tokens=limit)
        assert shared.args.gradient_accumulation_steps == alone.args.gradient_accumulation_steps == 8
        if not fast:
            assert all(rows * width <= limit or rows == 1 for rows, width in passes)
            assert len(passes) <= len(one_by_one) if limit == 1 else len(passes) < len(one_by_one)
        logs = [
            [(log["loss"], log["grad_norm"]) for log in trainer.state.log_history if "loss" in log]
            for trainer in (alone, shared)
        ]
        assert len(logs[0]) == 2 and min(norm for _, norm in logs[0]) > 1e-3
        numpy.testing.assert_allclose(*logs, rtol=1e-6, atol=1e-6)
        for left, right in zip(alone.model.parameters(), shared.model.parameters(), strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["grpo", "sdpo"])
def test_a_mini_batch_without_any_loss_still_has_a_pass(tmp_path, monkeypatch, method):
    monkeypatch.setattr(tiny, "coin_reward", lambda responses, answers: tiny.graded([0] * len(responses)))
    trainer, passes = trained(tmp_path, method, micro_tokens=100)
    assert [log["loss"] for log in trainer.state.log_history if "loss" in log] == [0.0, 0.0]
    assert len(passes) == 2
