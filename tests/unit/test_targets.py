"""Targets that replace the teacher's distribution: each by its definition in float64, and in the chunked loss with its gradients."""

from functools import partial
from itertools import accumulate, pairwise

import pytest
import torch
from test_chunked import TEACHER, TOKENS, VOCABULARY, Case, assert_same
from torch.nn import functional as F

from selfdistill.training.loss import chunked
from selfdistill.training.loss.chunked import LossOptions, chunked_distillation
from selfdistill.training.loss.losses import distillation_loss
from selfdistill.training.loss.targets import Target, log_masses, mixed, purified, within_groups
from selfdistill.training.variants.adopsd import risks
from selfdistill.training.variants.scores import least_of_highest

GROUPS = (torch.tensor([3, 5, 60]), torch.tensor([0, 7]))
REST = torch.tensor([i for i in range(VOCABULARY) if i not in (0, 3, 5, 7, 60)])


def logits(*names: str, seed: int = 0) -> list[torch.Tensor]:
    """Logits of some models, (tokens, vocabulary), in float64."""
    generator = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(TOKENS, VOCABULARY, generator=generator, dtype=torch.float64) for _ in names]


def softmax(values: torch.Tensor) -> torch.Tensor:
    """Probabilities, written out."""
    powers = values.exp()
    return powers / powers.sum(-1, keepdim=True)


def jsd(p: torch.Tensor, q: torch.Tensor, alpha: float) -> torch.Tensor:
    """(1 - alpha) KL(p || m) + alpha KL(q || m) of probabilities, (tokens,)."""
    m = (1 - alpha) * p + alpha * q
    return ((1 - alpha) * p * (p / m).log() + alpha * q * (q / m).log()).sum(-1)


def test_the_target_of_groups_has_the_students_masses_and_the_teachers_conditionals():
    student, teacher = logits("student", "teacher")
    s, t = softmax(student), softmax(teacher)
    target = softmax(within_groups(student, teacher.clone(), GROUPS))
    for group in (*GROUPS, REST):
        torch.testing.assert_close(target[:, group].sum(-1), s[:, group].sum(-1))
        conditionals = [x[:, group] / x[:, group].sum(-1, keepdim=True) for x in (target, t)]
        torch.testing.assert_close(*conditionals)


@pytest.mark.parametrize("alpha", [0.3, 0.5])
def test_the_loss_within_groups_is_the_divergence_of_the_conditionals_weighted_by_the_students_masses(alpha):
    student, teacher = logits("student", "teacher")
    s, t = softmax(student), softmax(teacher)
    expected = torch.zeros(TOKENS, dtype=torch.float64)
    for group in (*GROUPS, REST):
        own, taught = s[:, group].sum(-1, keepdim=True), t[:, group].sum(-1, keepdim=True)
        expected += own.squeeze(-1) * jsd(s[:, group] / own, t[:, group] / taught, alpha)
    target = within_groups(student, teacher, GROUPS)
    ids = torch.zeros(TOKENS, dtype=torch.long)
    found = distillation_loss(student, target, ids, None, alpha=alpha, top_k=None, tail=False, is_clip=None)
    torch.testing.assert_close(found, expected)


def test_a_teacher_that_differs_in_the_masses_only_has_no_loss_and_no_gradient():
    (student,) = logits("student")
    teacher = student.clone()
    teacher[:, GROUPS[0]] -= 5.0
    teacher[:, GROUPS[1]] += 2.0
    zeros = torch.zeros(TOKENS, dtype=torch.float64)
    options = LossOptions(0.5, None, False, None)
    ids, ones = torch.zeros(TOKENS, dtype=torch.long), torch.ones(TOKENS, dtype=torch.float64)
    plain, _ = chunked.full_losses(student.clone(), teacher.clone(), ids, None, ones, options)
    target = within_groups(student, teacher.clone(), GROUPS)
    losses, gradient = chunked.full_losses(student.clone(), target, ids, None, ones, options)
    assert plain.min() > 5e-4
    torch.testing.assert_close(losses, zeros)
    torch.testing.assert_close(gradient, torch.zeros_like(student))


def test_a_group_may_be_empty():
    student, teacher = logits("student", "teacher")
    empty = torch.tensor([], dtype=torch.long)
    both = within_groups(student, teacher.clone(), (GROUPS[0], empty))
    torch.testing.assert_close(
        softmax(both), softmax(within_groups(student, teacher.clone(), GROUPS[:1])), rtol=1e-12, atol=0
    )
    plain = within_groups(student, teacher.clone(), (empty, empty))
    torch.testing.assert_close(plain, teacher)
    assert (log_masses(student, (empty, GROUPS[0]))[:, 0] == -torch.inf).all()


@pytest.mark.parametrize(("width", "beta"), [(10.0, 1.0), (0.5, 2.0)])
def test_the_purified_target_is_that_of_its_formula(width, beta):
    q, pi, b = logits("teacher", "reference", "base")
    difference = softmax(q).log() - softmax(pi).log()
    centred = difference - difference.sum(-1, keepdim=True) / VOCABULARY
    powers = softmax(b) * (width * (centred / width).tanh() / beta).exp()
    expected = powers / powers.sum(-1, keepdim=True)
    found = purified(q.clone(), pi, b, width=width, beta=beta)
    torch.testing.assert_close(softmax(found), expected)


def test_a_reference_that_says_all_by_itself_leaves_the_base():
    q, b = logits("teacher", "base")
    torch.testing.assert_close(purified(q.clone(), q + 3.0, b, width=10.0, beta=1.0), b)
    # and the difference of a token is at most the width on either side of the mean
    far = purified(1e3 * q, torch.zeros_like(q), torch.zeros_like(q), width=10.0, beta=1.0)
    assert 9.9 < far.max() <= 10.0 and -10.0 <= far.min() < -9.9


def test_the_mixed_target_is_a_mixture_of_probabilities():
    q, b = logits("teacher", "base")
    share = torch.linspace(0, 1, TOKENS, dtype=torch.float64)
    expected = (1 - share[:, None]) * softmax(q) + share[:, None] * softmax(b)
    found = mixed(q.clone(), b.clone(), share)
    torch.testing.assert_close(softmax(found), expected)
    torch.testing.assert_close(found[0], softmax(q).log()[0])  # no base
    torch.testing.assert_close(found[-1], softmax(b).log()[-1])  # only base


def test_risk_is_what_the_student_likes_and_the_teacher_does_not():
    student, teacher = torch.tensor([0.5, 0.5, 0.01]).log(), torch.tensor([0.05, 0.9, 0.001]).log()
    expected = [0.5 * torch.tensor(10.0).log(), 0.0, 0.01 * torch.tensor(10.0).log()]
    assert risks(student, teacher).tolist() == pytest.approx([float(x) for x in expected])


@pytest.mark.parametrize(
    ("share", "expected"), [(0.2, 8.0), (0.1, 9.0), (0.01, 9.0), (0.25, 7.0), (1.0, 0.0)]
)
def test_the_highest_share_of_values(share, expected):
    values = torch.randperm(10, generator=torch.Generator().manual_seed(0)).float()
    assert least_of_highest(values, share) == expected
    assert least_of_highest(values[:0], share) == torch.inf


class Cleaned(Case):
    """A Case with two more passes of the teacher, and a number per token."""

    def __init__(self, dtype=torch.float32, tokens: int = TOKENS) -> None:
        super().__init__(dtype, tokens=tokens)
        generator = torch.Generator().manual_seed(1)
        self.others = [
            torch.randn(tokens, TEACHER, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2)
        ]
        self.share = torch.rand(tokens, generator=generator, dtype=torch.float64).to(dtype)

    def target(self, name: str) -> Target:
        """The target of a method."""
        return {
            "groups": Target(partial(within_groups, groups=GROUPS), copies=2),
            "purified": Target(lambda _, *own: purified(*own, width=2.0, beta=1.5), self.others),
            "mixed": Target(lambda _, *own: mixed(*own), self.others[:1], [self.share], copies=1),
        }[name]

    def by_hand(self, name: str, options: LossOptions):
        """Total, losses and gradients by autograd, from all logits at once and a target by probabilities."""
        student, teacher = self.logits(options.temperature)
        first, second = (F.linear(x, *self.teacher_head) / options.temperature for x in self.others)
        s, q, first, second = (
            softmax(x - x.amax(-1, keepdim=True)).detach() for x in (student, teacher, first, second)
        )
        if name == "groups":
            target = q.clone()
            for group in (*GROUPS, REST):
                target[:, group] *= s[:, group].sum(-1, keepdim=True) / q[:, group].sum(-1, keepdim=True)
        elif name == "purified":
            difference = (q / first).log()
            difference = 2 * ((difference - difference.mean(-1, keepdim=True)) / 2).tanh()
            target = softmax(second.log() + difference / 1.5)
        else:
            target = (1 - self.share[:, None]) * q + self.share[:, None] * first
        losses = distillation_loss(student, target.log(), self.ids, self.old, **options.arguments())
        total = (losses * self.weights).sum()
        return total, losses, torch.autograd.grad(total, self.leaves)

    def cleaned(self, name: str, options: LossOptions, budget=None):
        """The same by the chunked loss."""
        total, losses = chunked_distillation(
            self.hidden, self.head, self.teacher_hidden, self.teacher_head, self.ids, self.old, options,
            weights=self.weights, target=self.target(name), budget=budget,
        )  # fmt: skip
        return total, losses, torch.autograd.grad(total, self.leaves)


NAMES = ["groups", "purified", "mixed"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("top_k", [None, 7])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_loss_and_gradients_of_a_target_are_those_of_autograd_in_float64(name, top_k, alpha):
    case, options = Cleaned(torch.float64), LossOptions(alpha, top_k, True, 2.0, 0.7)
    assert_same(case.cleaned(name, options, budget=2000), case.by_hand(name, options), rtol=1e-10)
    assert_same(Cleaned().cleaned(name, options), case.by_hand(name, options), rtol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_two_chunks_of_a_target_are_one(name):
    case, options = Cleaned(), LossOptions(0.5, None, False, 2.0)
    copies = max(case.target(name).all_copies, chunked.FULL_COPIES)
    assert copies == 4
    budget = VOCABULARY * 4 * copies * 12
    assert chunked.chunk_tokens(case.head, copies, budget) == 12  # of 23 tokens
    assert_same(case.cleaned(name, options, budget), case.cleaned(name, options))


@pytest.mark.parametrize("name", NAMES)
def test_a_target_takes_as_many_copies_of_the_logits_as_it_is_counted_for(name):
    tokens, vocabulary = 8, 20_000
    target = Cleaned().target(name)
    columns = [torch.full((tokens,), 0.5) for _ in target.columns]
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as seen:
        pair = [torch.ones(tokens, vocabulary) for _ in range(2 + len(target.others))]
        target.logits(*pair, *columns)
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    peak = max(accumulate(event.nbytes() for event in events)) / (tokens * vocabulary * 4)
    assert round(peak) == target.all_copies


def test_nothing_of_the_size_of_all_logits_outlives_a_chunk():
    """The peak of the loss does not grow with the number of chunks, but for what has the size of the hidden states."""

    def peak(chunks: int) -> int:
        case = Cleaned(tokens=12 * chunks)
        with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
        ) as seen:
            case.cleaned("purified", LossOptions(0.5, None, False, 2.0), budget=VOCABULARY * 4 * 4 * 12)
        events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
        events.sort(key=lambda event: event.start_ns())
        return max(accumulate(event.nbytes() for event in events))

    growth = [later - earlier for earlier, later in pairwise(map(peak, (4, 8, 12)))]
    assert max(growth) < 4 * 12 * VOCABULARY * 4 / 2
