"""The chunked loss is the loss on logits, and TRL's: value and gradients, whatever the chunks."""

from itertools import accumulate, product

import pytest
import torch
from torch.nn import functional as F
from trl.experimental.sdpo import loss_utils

from selfdistill.training.loss import chunked
from selfdistill.training.loss.chunked import LossOptions, chunked_distillation
from selfdistill.training.loss.losses import distillation_loss
from selfdistill.training.loss.projection import CHUNK_BYTES, Head, chunked_log_probs, token_log_probs

TOKENS, VOCABULARY, STUDENT, TEACHER = 23, 61, 16, 12
ROW = VOCABULARY * 4 * chunked.TOP_K_COPIES  # bytes of one token's logits in a chunk
DIVERGENCES = [
    (alpha, top_k, tail) for alpha, top_k, tail in product([0.0, 0.3, 0.5, 1.0], [7, None], [True, False])
]


class Case:
    """A student and a teacher of different widths on the same tokens."""

    def __init__(self, dtype=torch.float32, seed: int = 0, bias: bool = True, tokens: int = TOKENS) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        self.hidden, self.teacher_hidden = draw(tokens, STUDENT), draw(tokens, TEACHER)
        self.head = Head(draw(VOCABULARY, STUDENT) / 3, draw(VOCABULARY) if bias else None)
        self.teacher_head = Head(draw(VOCABULARY, TEACHER) / 3, draw(VOCABULARY) if bias else None)
        self.ids = torch.randint(VOCABULARY, (tokens,), generator=generator)
        self.old = draw(tokens).float() - 4
        self.weights = draw(tokens).abs()
        self.leaves = [x.requires_grad_() for x in (self.hidden, *self.head) if x is not None]

    def tensors(self) -> list[torch.Tensor]:
        return [*self.leaves, self.teacher_hidden, *(x for x in self.teacher_head if x is not None)]

    def logits(self, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
        student, teacher = (
            F.linear(self.hidden, *self.head),
            F.linear(self.teacher_hidden, *self.teacher_head),
        )
        wide = torch.promote_types(student.dtype, torch.float32)
        return student.to(wide) / temperature, teacher.to(wide) / temperature

    def dense(self, options: LossOptions, weights=None):
        losses = distillation_loss(
            *self.logits(options.temperature), self.ids, self.old, **options.arguments()
        )
        total = (losses * (1 if weights is None else weights)).sum()
        return total, losses, torch.autograd.grad(total, self.leaves)

    def chunked(self, options: LossOptions, weights=None, budget=None, scale: float = 1.0):
        total, losses = chunked_distillation(
            self.hidden, self.head, self.teacher_hidden, self.teacher_head, self.ids, self.old, options,
            weights=weights, budget=budget,
        )  # fmt: skip
        return total, losses, torch.autograd.grad(total * scale, self.leaves)


def assert_same(actual, expected, rtol=1e-5, scale=1.0) -> None:
    """Total, losses and gradients agree relative to the largest element of each."""
    for ours, theirs in zip(
        (*actual[:2], *actual[2]), (*expected[:2], *(scale * x for x in expected[2])), strict=True
    ):
        assert (ours - theirs).abs().max() <= rtol * theirs.abs().max()


def trl_loss(student, teacher, ids, old, options: LossOptions) -> torch.Tensor:
    """Token losses put together from TRL's own functions."""
    if options.top_k is None:
        losses = loss_utils.compute_full_logit_self_distillation_loss(
            student, teacher, distillation_alpha=options.alpha
        )
    else:
        losses = loss_utils.compute_topk_self_distillation_loss(
            student, teacher, distillation_topk=options.top_k, distillation_alpha=options.alpha,
            distillation_add_tail=options.tail,
        )  # fmt: skip
    if options.is_clip is None:
        return losses
    now = student.log_softmax(-1).gather(-1, ids[:, None]).squeeze(-1)
    return loss_utils.apply_importance_sampling_clipping(losses, now, old, options.is_clip)


@pytest.mark.parametrize(("alpha", "top_k", "tail"), DIVERGENCES)
@pytest.mark.parametrize("is_clip", [None, 2.0])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_chunks_give_the_loss_and_gradients_of_the_logits_and_of_trl(
    alpha, top_k, tail, is_clip, temperature
):
    case, options = Case(), LossOptions(alpha, top_k, tail, is_clip, temperature)
    actual = case.chunked(options, budget=3 * ROW)
    assert_same(actual, case.dense(options))
    losses = trl_loss(*case.logits(temperature), case.ids, case.old, options)
    assert_same(actual, (losses.sum(), losses, torch.autograd.grad(losses.sum(), case.leaves)))


@pytest.mark.parametrize(("alpha", "top_k", "tail"), DIVERGENCES)
def test_gradients_are_exact_in_float64(alpha, top_k, tail):
    case, options = Case(torch.float64), LossOptions(alpha, top_k, tail, 2.0, 0.7)
    assert_same(case.chunked(options, case.weights, 3 * ROW), case.dense(options, case.weights), rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(("spread", "apart"), [(3, 1e-2), (100, 100), (1e4, 1e3)])
def test_full_losses_of_extreme_logits_are_as_near_to_float64_as_those_of_autograd(alpha, spread, apart):
    generator, options = torch.Generator().manual_seed(0), LossOptions(alpha, None, True, 2.0)
    student, other = torch.randn(2, TOKENS, 1000, generator=generator) * spread
    # both are float32 numbers: what rounding the logits costs is the same for any formula, and would hide the rest
    student, teacher = student.double(), (student + other * apart / spread).double()
    ids, old, scales = (
        torch.arange(TOKENS),
        torch.full((TOKENS,), -3.0),
        torch.rand(TOKENS, generator=generator),
    )

    def autograd(dtype):
        leaf = student.to(dtype).requires_grad_()
        losses = distillation_loss(leaf, teacher.to(dtype), ids, old, **options.arguments())
        return losses.detach(), torch.autograd.grad((losses * scales).sum(), leaf)[0]

    found = chunked.full_losses(student.float(), teacher.float(), ids, old, scales, options)
    for ours, theirs, exact in zip(found, autograd(torch.float32), autograd(torch.float64), strict=True):
        bound = max(2 * float((theirs - exact).abs().max()), 1e-6 * float(exact.abs().max()))
        assert float((ours - exact).abs().max()) <= bound


@pytest.mark.parametrize("name", ["full", "top_k"])
def test_a_chunk_takes_as_many_copies_of_the_logits_as_it_is_counted_for(name):
    tokens, vocabulary = 8, 20_000
    options = LossOptions(0.5, 7 if name == "top_k" else None, True, 2.0)
    rest = torch.arange(tokens), torch.zeros(tokens), torch.ones(tokens), options
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as seen:
        getattr(chunked, f"{name}_losses")(
            torch.zeros(tokens, vocabulary), torch.ones(tokens, vocabulary), *rest
        )
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    peak = max(accumulate(event.nbytes() for event in events)) / (tokens * vocabulary * 4)
    assert round(peak) == getattr(chunked, f"{name.upper()}_COPIES")


def test_gradients_are_those_of_finite_differences():
    case, options = Case(torch.float64, tokens=3), LossOptions(0.5, 7, True, None)
    for leaf, gradient in zip(case.leaves, case.chunked(options)[2], strict=True):
        first, values = (0,) * leaf.ndim, []
        for shift in (1e-6, -2e-6):
            with torch.no_grad():
                leaf[first] += shift
                values.append(
                    distillation_loss(*case.logits(1.0), case.ids, None, **options.arguments()).sum()
                )
        assert float(gradient[first]) == pytest.approx(float(values[0] - values[1]) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("top_k", [7, VOCABULARY, None])
@pytest.mark.parametrize("tokens_a_chunk", [1, 5, TOKENS, 1000])
def test_the_size_of_chunks_does_not_matter(top_k, tokens_a_chunk):
    case, options = Case(), LossOptions(0.5, top_k, True, 2.0)
    copies = chunked.FULL_COPIES if top_k is None else chunked.TOP_K_COPIES
    budget = VOCABULARY * 4 * copies * tokens_a_chunk
    assert chunked.chunk_tokens(case.head, copies, budget) == tokens_a_chunk
    assert_same(case.chunked(options, budget=budget), case.chunked(options))


@pytest.mark.parametrize("bias", [True, False])
def test_weights_and_the_scale_of_the_sum_reach_the_gradients(bias):
    case, options = Case(bias=bias), LossOptions(0.5, 7, True, 2.0)
    masked = case.weights * (torch.arange(TOKENS) % 3 > 0)
    actual = case.chunked(options, masked, 4 * ROW, scale=0.25)
    assert_same(actual, case.dense(options, masked), scale=0.25)
    assert not actual[2][0][::3].any() and actual[2][0][1::3].any()


def test_no_tokens_cost_nothing_and_stay_in_the_graph():
    case = Case(tokens=0)
    total, losses, gradients = case.chunked(LossOptions(0.5, 7, True, 2.0))
    assert total.item() == 0.0 and len(losses) == 0 and not any(x.any() for x in gradients)
    assert [x.shape for x in gradients] == [x.shape for x in case.leaves]


@pytest.mark.parametrize("top_k", [7, None])
def test_bfloat16_is_as_near_to_float64_as_the_loss_on_bfloat16_logits(top_k):
    case, options = Case(torch.bfloat16), LossOptions(0.5, top_k, True, 2.0)
    exact = Case(torch.float64)
    for ours, theirs in zip(exact.tensors(), case.tensors(), strict=True):
        ours.data = theirs.data.double()
    actual, dense, truth = case.chunked(options, budget=3 * ROW), case.dense(options), exact.dense(options)
    assert [x.dtype for x in actual[2]] == [torch.bfloat16] * 3 and actual[1].dtype == torch.float32
    torch.testing.assert_close(actual[1], dense[1], rtol=1e-5, atol=1e-6)  # the same rounded logits
    for ours, theirs, right in zip(actual[2], dense[2], truth[2], strict=True):
        assert (ours - right).norm() <= 1.05 * (theirs - right).norm() <= 0.02 * right.norm()


def test_autocast_projects_in_bfloat16_and_keeps_the_gradients_of_float32_weights():
    case, options = Case(), LossOptions(0.5, 7, True, 2.0)
    with torch.autocast("cpu", torch.bfloat16):
        actual = case.chunked(options, budget=3 * ROW)
        dense = case.dense(options)
    assert [x.dtype for x in actual[2]] == [torch.float32] * 3
    torch.testing.assert_close(actual[1], dense[1], rtol=1e-5, atol=1e-6)
    assert_same(actual, dense, rtol=0.02)


def test_without_gradients_none_are_made_and_a_frozen_head_gets_none():
    case, options = Case(), LossOptions(0.5, 7, True, 2.0)
    expected = case.dense(options)
    with torch.no_grad():
        total, losses = chunked_distillation(
            case.hidden, case.head, case.teacher_hidden, case.teacher_head, case.ids, case.old, options
        )
    assert not total.requires_grad and torch.allclose(losses, expected[1], rtol=1e-5)
    case.head = chunked.detached(case.head)
    case.leaves = [case.hidden]
    assert_same(case.chunked(options), (*expected[:2], expected[2][:1]))


def test_a_second_backward_pass_is_refused():
    case = Case()
    total, _ = chunked_distillation(
        case.hidden,
        case.head,
        case.teacher_hidden,
        case.teacher_head,
        case.ids,
        None,
        LossOptions(0.5, 7, True, None),
    )
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="one backward pass only"):
        total.backward()


def test_impossible_top_k_is_refused():
    with pytest.raises(ValueError, match=rf"top_k is 99.*1\.\.{VOCABULARY}"):
        Case().chunked(LossOptions(0.5, 99, True, None))


def test_chunks_fill_the_budget_and_grow_with_the_head():
    small = Head(torch.empty(70, 128, device="meta"))
    assert chunked.chunk_tokens(small, chunked.TOP_K_COPIES) > 400_000  # a mini mini-batch is one chunk
    wide = Head(torch.empty(151_936, 256, device="meta"))
    assert chunked.chunk_tokens(wide, chunked.TOP_K_COPIES) == CHUNK_BYTES // (2 * 4 * 151_936)
    large = Head(torch.empty(151_936, 4096, device="meta"))
    assert chunked.chunk_tokens(large, chunked.TOP_K_COPIES) == 4096 // 2
    assert chunked.chunk_tokens(large, chunked.TOP_K_COPIES, budget=1) == 1


@pytest.mark.parametrize("budget", [None, 1000])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_of_hidden_states_are_those_of_the_logits(budget, temperature):
    case = Case()
    actual = chunked_log_probs(case.hidden, case.head, case.ids, temperature, budget)
    expected = token_log_probs(case.logits(temperature)[0], case.ids)
    assert_same(
        (actual.sum(), actual, torch.autograd.grad((actual * case.weights).sum(), case.leaves)),
        (expected.sum(), expected, torch.autograd.grad((expected * case.weights).sum(), case.leaves)),
    )


def test_log_probabilities_of_no_tokens():
    case = Case(tokens=0)
    assert chunked_log_probs(case.hidden, case.head, case.ids, 1.0).shape == (0,)
