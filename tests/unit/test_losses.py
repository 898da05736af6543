"""The distillation loss against plain-PyTorch references written from the authors' definition (paper.md)."""

import math

import pytest
import torch

from selfdistill.training.loss.losses import check_top_k, distillation_loss, token_mean

TOKENS, VOCABULARY = 7, 12


def distributions(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of a student and of a teacher that disagree."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(2, TOKENS, VOCABULARY, generator=generator) * 2
    return draw[0], draw[1]


def bucketed(logits: torch.Tensor, support: list[int], tail: bool) -> list[float]:
    """One token's probabilities on `support`, with the rest in one bucket or renormalised without it."""
    p = logits.double().softmax(-1)
    kept = [float(p[i]) for i in support]
    return [*kept, 1 - sum(kept)] if tail else [x / sum(kept) for x in kept]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def reference(student: torch.Tensor, teacher: torch.Tensor, alpha: float, top_k: int, tail: bool) -> float:
    """(1 - alpha) KL(s || m) + alpha KL(t || m); alpha 0: KL(t || s), alpha 1: KL(s || t)."""
    support = sorted(range(len(student)), key=lambda i: -float(student[i]))[:top_k]
    s, t = bucketed(student, support, tail), bucketed(teacher, support, tail)
    if alpha in (0.0, 1.0):
        return kl(s, t) if alpha else kl(t, s)
    mixture = [(1 - alpha) * a + alpha * b for a, b in zip(s, t, strict=True)]
    return (1 - alpha) * kl(s, mixture) + alpha * kl(t, mixture)


def loss(student, teacher, ids=None, old=None, *, alpha=0.5, top_k=5, tail=True, is_clip=None):
    ids = torch.zeros(len(student), dtype=torch.long) if ids is None else ids
    return distillation_loss(student, teacher, ids, old, alpha=alpha, top_k=top_k, tail=tail, is_clip=is_clip)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("tail", [True, False])
@pytest.mark.parametrize("top_k", [1, 5, VOCABULARY - 1])
def test_loss_is_the_authors_divergence(alpha, tail, top_k):
    student, teacher = distributions()
    expected = [reference(s, t, alpha, top_k, tail) for s, t in zip(student, teacher, strict=True)]
    actual = loss(student, teacher, alpha=alpha, top_k=top_k, tail=tail)
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-4, atol=1e-6)


def test_gradient_flows_through_the_student_and_the_mixture():
    student, teacher = distributions()
    student.requires_grad_()
    loss(student, teacher).sum().backward()
    row, step = 2, 1e-4
    for token in range(VOCABULARY):
        shift = torch.zeros(VOCABULARY)
        shift[token] = step
        up, down = (
            reference(student[row].detach() + sign * shift, teacher[row], 0.5, 5, True) for sign in (1, -1)
        )
        assert float(student.grad[row, token]) == pytest.approx((up - down) / (2 * step), abs=2e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_equal_distributions_cost_nothing(alpha):
    student, _ = distributions()
    assert loss(student, student.clone(), alpha=alpha).abs().max() < 1e-6
    assert loss(student, distributions()[1], alpha=alpha).min() > 0


def test_whole_vocabulary_with_tail_is_the_full_divergence():
    student, teacher = distributions()
    p, q = student.double().softmax(-1), teacher.double().softmax(-1)
    full = (p * (p / q).log()).sum(-1)
    torch.testing.assert_close(
        loss(student, teacher, alpha=1.0, top_k=VOCABULARY).double(), full, rtol=1e-3, atol=1e-5
    )


def test_tail_bucket_holds_the_rest_of_both_distributions():
    student = torch.tensor([[3.0, 2.0, 0.0, -1.0]])
    moved = torch.tensor(
        [[3.0, 2.0, -1.0, 0.0]]
    )  # another order within the tail: the same distribution on the buckets
    assert float(loss(student, moved, top_k=2)) == pytest.approx(0.0, abs=1e-6)
    assert float(loss(student, moved, top_k=3)) > 1e-3


def test_bfloat16_logits_are_computed_in_float32():
    student, teacher = (x.bfloat16() for x in distributions())
    assert loss(student, teacher).dtype == torch.float32
    torch.testing.assert_close(loss(student, teacher), loss(student.float(), teacher.float()))


def test_importance_ratio_is_clipped_above_only_and_carries_no_gradient():
    student, teacher = distributions()
    student.requires_grad_()
    ids = torch.tensor([0, 1, 2, 3, 4, 5, 6])
    now = student.detach().log_softmax(-1).gather(1, ids[:, None]).squeeze(1)
    plain = loss(student, teacher, ids)
    ratios = torch.tensor([0.1, 0.5, 1.0, 1.5, 1.99, 3.0, 50.0])
    weighted = loss(student, teacher, ids, now - ratios.log(), is_clip=2.0)
    torch.testing.assert_close(weighted, plain * ratios.clamp(max=2.0), rtol=1e-4, atol=1e-7)
    expected = torch.autograd.grad((plain * ratios.clamp(max=2.0)).sum(), student)[0]
    torch.testing.assert_close(
        torch.autograd.grad(weighted.sum(), student)[0], expected, rtol=1e-4, atol=1e-7
    )


def test_without_old_log_probs_or_clip_there_is_no_weight():
    student, teacher = distributions()
    old = torch.full((TOKENS,), -9.0)
    torch.testing.assert_close(loss(student, teacher, old=old, is_clip=None), loss(student, teacher))
    torch.testing.assert_close(loss(student, teacher, old=None, is_clip=2.0), loss(student, teacher))


def test_token_mean_is_the_same_however_the_mini_batch_is_split():
    losses = torch.tensor([1.0, 2.0, 3.0, 10.0])
    tokens = torch.tensor(4)
    split = token_mean(losses[:1], tokens) + token_mean(losses[1:], tokens)
    assert float(split) == pytest.approx(4.0)  # a mean of the two means would be (1 + 5) / 2 = 3
    halves = [token_mean(part, tokens, processes=2) for part in (losses[:1], losses[1:])]
    assert float(sum(halves) / 2) == pytest.approx(4.0)


def test_token_mean_of_no_tokens_is_zero():
    assert float(token_mean(torch.zeros(0), torch.tensor(0))) == 0.0


@pytest.mark.parametrize("top_k", [0, -1, VOCABULARY + 1])
def test_impossible_top_k_is_refused_with_the_figures(top_k):
    with pytest.raises(
        ValueError,
        match=rf"top_k is {top_k}, but must be in 1\.\.{VOCABULARY}: .*vocabulary has {VOCABULARY} tokens",
    ):
        check_top_k(top_k, VOCABULARY)
