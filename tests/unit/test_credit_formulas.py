"""The formulas of the methods that combine GRPO's advantage with the self-teacher, computed by hand."""

import math
from types import SimpleNamespace

import pytest
import tiny
import torch

from selfdistill.study.methods.rlsd import RLSD
from selfdistill.training.teacher import RolloutBatch, failures
from selfdistill.training.variants import antisd, rlcsd
from selfdistill.training.variants.antisd import EntropyGate
from selfdistill.training.variants.rlsd import RlsdTrainer, redistributed
from selfdistill.training.variants.sdpg import warmed_and_decayed


def test_rlsd_weights_advantages_by_the_ratio_of_teacher_to_student():
    advantages, gaps = (
        torch.tensor([1.0, 1.0, -2.0, -2.0, 1.0, 0.0]),
        torch.tensor([0.1, 5.0, 0.1, 5.0, 0.0, 3.0]),
    )
    expected = [
        0.5 + 0.5 * math.exp(0.1), 0.5 + 0.5 * 1.2, -2 * (0.5 + 0.5 * math.exp(-0.1)), -2 * (0.5 + 0.5 * 0.8), 1.0, 0.0,
    ]  # fmt: skip
    assert redistributed(advantages, gaps, 0.5, 0.2).tolist() == pytest.approx(expected)
    assert torch.equal(redistributed(advantages, gaps, 0.0, 0.2), advantages)


@pytest.mark.parametrize(("step", "mix"), [(0, 0.5), (25, 0.25), (50, 0.0), (60, 0.0)])
def test_the_mix_of_rlsd_decays_linearly(step, mix):
    settings = RLSD.settings(**tiny.GRPO | tiny.SDPO)
    columns = {
        "advantages": torch.tensor([1.0, 1.0]),
        "teacher_log_probs": torch.tensor([0.0, 0.0]),
        "old_per_token_logps": torch.tensor([-9.0, -9.0]),
        "self_distillation_mask": torch.tensor([1.0, 0.0]),
    }
    found = RlsdTrainer.credit(SimpleNamespace(settings=settings, rollout_step=step), columns)
    assert found.advantages.tolist() == pytest.approx([1 + 0.2 * mix, 1.0])


def test_antisd_adds_half_of_the_reversed_softplus():
    expected = [0.0, (math.log(2) - math.log1p(math.exp(1.0))) / 2, math.log(2) / 2]
    assert antisd.reversed_signal(torch.tensor([0.0, 1.0, -60.0])).tolist() == pytest.approx(expected)


def test_the_gate_of_antisd_has_hysteresis():
    gate = EntropyGate()
    seen = [
        (1.2, True),
        (None, True),
        (0.8, True),
        (0.94, False),
        (0.92, False),
        (0.99, False),
        (None, False),
        (1.0, False),
        (0.95, False),
    ]
    assert [gate.open_for(median, warming, 0.93) for median, warming in seen] == [
        False, False, False, True, False, False, False, True, True,
    ]  # fmt: skip
    assert gate.total / gate.count == 1.0


def test_a_wrong_hint_is_another_failure_of_the_group():
    batch = RolloutBatch(["q"] * 6, [0.0, 1.0, 0.0, 1.0, 1.0, 0.0], "r{}".format, 3, 0.5, "qwen3")
    assert failures(batch, 0) == ["r2", "r0", "r0", "r5", "r5", None]
    assert failures(batch, 1) == [None, "r2", None, None, None, None]


def test_rlcsd_corrects_advantages_on_their_side():
    settings = SimpleNamespace(scale=1.0, mix=0.5, tau=0.02)
    correction = rlcsd.corrections(torch.tensor([0.0, 0.02, -1.0]), settings)
    assert correction.tolist() == pytest.approx([0.0, 0.5 * math.tanh(1), -0.5])
    advantages = torch.tensor([0.25, -0.25, 0.25, -0.25, 0.0])
    corrections = torch.tensor([0.5, 0.5, -0.5, -0.5, 0.5])
    assert rlcsd.corrected(advantages, corrections).tolist() == [0.75, 0.0, 0.0, -0.75, 0.0]
    assert rlcsd.corrections(torch.tensor([1.0]), SimpleNamespace(scale=9.0, mix=0.5, tau=0.02)).item() == 2.0


def test_rlcsd_averages_the_probabilities_of_wrong_hints():
    log_probs = torch.tensor([[[0.2], [0.5]], [[0.4], [0.1]]]).log()
    shown = torch.tensor([[True, True], [True, False]])
    assert rlcsd.mean_of_wrong(log_probs, shown).exp().flatten().tolist() == pytest.approx([0.3, 0.5])
    assert not rlcsd.mean_of_wrong(log_probs, torch.zeros(2, 2, dtype=torch.bool)).isfinite().any()


def test_beta_of_sdpg_is_warmed_up_and_decays():
    shares = [warmed_and_decayed(step, 2, 6) for step in range(6)]
    assert shares == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    assert warmed_and_decayed(0, 0, 1) == 1.0
