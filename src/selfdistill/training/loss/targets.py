"""Targets of the distillation loss that are made of the teacher's distribution and of others, one chunk of tokens at a time.

A target is given as logits, which the loss normalises; no gradient flows through it. All logits are those of a chunk, (tokens,
vocabulary), divided by the temperature, in float32 or wider. The student's stay as they are, all others may be overwritten.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from selfdistill.training.loss.projection import Head, project


class Target(NamedTuple):
    """What takes the place of the teacher's distribution.

    logits: function (student's logits, teacher's, those of `others`, columns) -> the target's; others: hidden states of further passes
    of the teacher, (tokens, hidden) each; columns: numbers of the tokens, (tokens,) each; copies: (tokens, vocabulary) tensors that `logits`
    needs beside its arguments, in units of float32 tensors (measured, rounded up).
    """

    logits: Callable[..., torch.Tensor]
    others: Sequence[torch.Tensor] = ()
    columns: Sequence[torch.Tensor] = ()
    copies: int = 0

    @property
    def all_copies(self) -> int:
        """Return the (tokens, vocabulary) tensors that exist at once while a chunk's target is made."""
        return 2 + len(self.others) + self.copies

    def of_chunk(
        self, tokens: slice, student: torch.Tensor, teacher: torch.Tensor, head: Head, temperature: float
    ) -> torch.Tensor:
        """Return the target's logits of a chunk; student, teacher: its logits; head: the teacher's, in the compute dtype."""
        others = (project(x[tokens].to(head.weight.dtype), head, temperature) for x in self.others)
        return self.logits(student, teacher, *others, *(column[tokens] for column in self.columns))


def log_masses(logits: torch.Tensor, groups: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the log-mass of each group of tokens and of all others, (tokens, groups + 1), up to the normaliser of the logits.

    groups: ids of tokens, without overlap; a group may be empty.
    """
    rest = logits.index_fill(-1, torch.cat(list(groups)), -math.inf).logsumexp(-1)
    return torch.stack([*(logits[:, group].logsumexp(-1) for group in groups), rest], dim=-1)


def within_groups(
    student: torch.Tensor, teacher: torch.Tensor, groups: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return the teacher's logits, shifted so that each of `groups` and the rest have the student's masses; overwrites `teacher`."""
    shifts = log_masses(student, groups) - log_masses(teacher, groups)
    shifts = shifts - shifts[:, -1:]  # the normaliser of the loss takes care of the rest's own shift
    for group, shift in zip(groups, shifts.unbind(-1), strict=False):
        teacher[:, group] += shift.unsqueeze(-1)
    return teacher


def purified(
    teacher: torch.Tensor, reference: torch.Tensor, base: torch.Tensor, *, width: float, beta: float
) -> torch.Tensor:
    """Return log b + width tanh(d / width) / beta, with d = log q - log pi minus its mean over the vocabulary; overwrites `teacher`.

    teacher (q): with question and reference; reference (pi): with the reference only; base (b): with the question only. The
    normalisers of q and pi are the same for the whole vocabulary, so centring removes them.
    """
    difference = teacher.sub_(reference)
    difference.sub_(difference.mean(-1, keepdim=True))
    return difference.div_(width).tanh_().mul_(width / beta).add_(base)


def mixed(teacher: torch.Tensor, base: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return log((1 - share) q + share b); share: of the base b, (tokens,), 0 to 1; overwrites both."""
    for logits, weight in ((teacher, 1 - share), (base, share)):
        logits.sub_((logits.logsumexp(-1) - weight.log()).unsqueeze(-1))
    return torch.logaddexp(teacher, base, out=teacher)
