"""From samples to cells: sums per group, draw and problem, and the arms of a contrast over their problems.

`CellTable` reduces a samples frame once; all later steps work on small arrays. `Cells` is one group as a
draw x problem grid. `Design` is a set of groups with the problems and draws that they share. A draw is a replicate
(its seeds averaged) if the samples have several, else a seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pandas as pd

from selfdistill.statistics.metrics import (
    ANSWER,
    COLUMN_OF,
    RATIOS,
    Votes,
    at_k,
    is_proportion,
    is_signed,
    needs_answers,
    numeric_columns,
    pass_at_k,
)
from selfdistill.vocabulary.runs import DRAW


class NoContrast(ValueError):
    """The samples cannot answer: no rows, no column, or nothing in common."""


@dataclass(frozen=True)
class Cells:
    """Cells of one group, metric x draw x problem, and the stratum (benchmark) of each problem.

    An estimate is the mean over strata of sum(numerator) / sum(denominator); for a mean over problems the
    denominator is 1. An unobserved cell is 0 in both.
    """

    numerator: np.ndarray
    denominator: np.ndarray
    strata: np.ndarray

    @property
    def n_draws(self) -> int:
        """Return the number of draws."""
        return self.numerator.shape[1]

    @property
    def share(self) -> np.ndarray:
        """Return the weight of each problem in the estimate, (problems,): equal for all strata, summing to 1."""
        sizes = np.bincount(self.strata)
        return 1 / (sizes.size * sizes[self.strata])

    def estimate(self) -> np.ndarray:
        """Return the estimate of every metric, (metrics,)."""
        parts = []
        for stratum in range(self.strata.max() + 1):
            own = self.strata == stratum
            total, number = (
                values[:, :, own].sum(axis=(1, 2)) for values in (self.numerator, self.denominator)
            )
            parts.append(np.divide(total, number, out=np.full_like(total, np.nan), where=number != 0))
        return np.mean(parts, axis=0)

    def linearised(self) -> np.ndarray:
        """Return cells whose mean (over draws, problems of a stratum, strata) is the estimate to first order."""
        linear = np.empty_like(self.numerator)
        for stratum in range(self.strata.max() + 1):
            own = self.strata == stratum
            numerator, denominator = self.numerator[:, :, own], self.denominator[:, :, own]
            mean = denominator.mean(axis=(1, 2), keepdims=True)
            # Taylor expansion of a ratio of means: its change is (numerator - ratio * denominator) / mean
            ratio = numerator.mean(axis=(1, 2), keepdims=True) / mean
            linear[:, :, own] = ratio + (numerator - ratio * denominator) / mean
        return linear


@dataclass(frozen=True)
class Design:
    """Arms of a contrast, the problems that they are evaluated on, and the draws that they share.

    strata: benchmark of every problem of the design; problems: per arm, the positions of its own problems in
    `strata`; draw_sets: per arm, the number of its set of draws (equal sets have equal numbers); k: smallest number
    of samples per problem; n_replicates, n_seeds: smallest numbers over the arms.
    """

    arms: tuple[Cells, ...]
    problems: tuple[np.ndarray, ...]
    strata: np.ndarray
    draw_sets: tuple[int, ...]
    k: int
    n_replicates: int = 1
    n_seeds: int = 1

    @property
    def n_draws(self) -> int:
        """Return the number of draws of the arm that has the fewest."""
        return min(arm.n_draws for arm in self.arms)


class CellTable:
    """All groups of a samples frame, reduced once to sums per group, replicate, seed and problem.

    drawn: the column that numbers the draws, `replicate` or `seed`.
    """

    def __init__(self, samples: pd.DataFrame, by: Sequence[str], metrics: Sequence[str]) -> None:
        self.metrics = tuple(metrics)
        check_columns(samples, [*by, *sample_columns(metrics)])
        self.drawn = "replicate" if samples["replicate"].nunique() > 1 else "seed"
        self.is_signed = np.array([is_signed(name) for name in metrics])
        self.is_proportion = np.array([is_proportion(name) for name in metrics])
        frame, cell = _reduce(samples, list(by), numeric_columns(metrics))
        self._votes = Votes(cell, samples) if needs_answers(metrics) else None
        self._column = {name: frame[name].to_numpy() for name in frame.columns}
        grouped = frame.groupby(list(by), sort=True, dropna=False)
        group = grouped.ngroup().to_numpy()
        first = frame[list(by)].iloc[np.unique(group, return_index=True)[1]]
        self.keys: list[tuple] = list(first.itertuples(index=False, name=None))
        self._rows = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])

    def single(self, position: int) -> Design:
        """Return the design of one group."""
        return self._design([self._rows[position]])

    def pair(self, position: int, reference: int) -> Design:
        """Return the design of two groups over their common problems; raise NoContrast if there are none."""
        problems = [self._column["problem"][self._rows[own]] for own in (position, reference)]
        common = np.intersect1d(*problems)
        if not common.size:
            raise NoContrast(f"{self.keys[position]} and {self.keys[reference]} share no problem")
        return self._design(
            [
                self._rows[group][np.isin(codes, common)]
                for group, codes in zip((position, reference), problems, strict=True)
            ]
        )

    def together(self, paired: Sequence[int]) -> Design:
        """Return the design of all groups; on each benchmark, over the problems that all groups paired with each other have in common.

        paired: the number of each group's set of paired groups, (groups,). Raise ValueError for a benchmark without a common problem.
        """
        group = np.repeat(np.arange(len(self._rows)), [rows.size for rows in self._rows])
        rows = np.concatenate(self._rows)
        sets = np.asarray(paired)[group]
        problem, stratum = (
            self._column[name][rows] + sets * (self._column[name].max() + 1)
            for name in ("problem", "stratum")
        )
        # a problem is common if as many groups of a set have it as have its benchmark at all
        in_common = _distinct(problem, group)[problem] == _distinct(stratum, group)[stratum]
        lacking = ~np.isin(stratum, stratum[in_common])
        if lacking.any():
            names = sorted({*self._column["benchmark"][rows[lacking]]})
            raise NoContrast(f"the arms share no problem of {', '.join(map(str, names))}")
        return self._design([rows[in_common & (group == own)] for own in range(len(self._rows))])

    def _design(self, groups: list[np.ndarray]) -> Design:
        """Return the design of arms made of these rows; pass@k and maj@k use the smallest number of samples per problem."""
        groups = self._same_replicates(groups)
        k = int(min(self._column["n"][rows].min() for rows in groups))
        own = [np.unique(self._column["problem"][rows]) for rows in groups]
        union, first = np.unique(self._column["problem"][np.concatenate(groups)], return_index=True)
        stratum = self._column["stratum"][np.concatenate(groups)][first]
        draws = [tuple(np.unique(self._column[self.drawn][rows])) for rows in groups]
        return Design(
            arms=tuple(self._cells(rows, k) for rows in groups),
            problems=tuple(np.searchsorted(union, codes) for codes in own),
            strata=np.unique(stratum, return_inverse=True)[1],
            draw_sets=tuple(list(dict.fromkeys(draws)).index(those) for those in draws),
            k=k,
            n_replicates=np.unique(self._column["replicate"][groups[0]]).size,
            n_seeds=min(self._seeds(rows) for rows in groups),
        )

    def _seeds(self, rows: np.ndarray) -> int:
        """Return the smallest number of seeds in a replicate."""
        replicates, seeds = self._column["replicate"][rows], self._column["seed"][rows]
        return min(np.unique(seeds[replicates == own]).size for own in np.unique(replicates))

    def _same_replicates(self, groups: list[np.ndarray]) -> list[np.ndarray]:
        """Return the rows of the replicates that all groups have: a run is compared with its own base."""
        numbers = [self._column["replicate"][rows] for rows in groups]
        common = reduce(np.intersect1d, numbers)
        if not common.size:
            raise NoContrast("the arms share no replicate")
        return [rows[np.isin(own, common)] for rows, own in zip(groups, numbers, strict=True)]

    def _cells(self, rows: np.ndarray, k: int) -> Cells:
        """Return the rows of one group as a draw x problem grid; seeds of one replicate add up."""
        draws, draw = np.unique(self._column[self.drawn][rows], return_inverse=True)
        problem_codes = self._column["problem"][rows]
        problems, first, problem = np.unique(problem_codes, return_index=True, return_inverse=True)
        numerator = np.zeros((len(self.metrics), draws.size, problems.size))
        denominator = np.zeros_like(numerator)
        for position, metric in enumerate(self.metrics):
            values, weights = self._values(metric, rows, k)
            np.add.at(numerator[position], (draw, problem), values)
            np.add.at(denominator[position], (draw, problem), weights)
        strata = np.unique(self._column["stratum"][rows][first], return_inverse=True)[1]
        return Cells(numerator, denominator, strata)

    def _values(self, metric: str, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray | float]:
        """Return numerator and denominator of one metric in the cells of `rows`."""
        if metric in RATIOS:
            above, below, factor = RATIOS[metric]
            return factor * self._column[above][rows], self._column[below][rows]
        samples = self._column["n"][rows]
        match at_k(metric, k):
            case ("maj", drawn):
                return self._votes.majority_at(drawn)[rows], 1.0
            case ("pass", drawn):
                return pass_at_k(self._column["correct"][rows], samples, drawn), 1.0
        return self._column[COLUMN_OF.get(metric, metric)][rows] / samples, 1.0


def sample_columns(metrics: Sequence[str]) -> list[str]:
    """Return the columns that the metrics need in the samples, without those of the grouping."""
    answers = [ANSWER] if needs_answers(metrics) else []
    return [*DRAW, "benchmark", "problem_id", "sample_index", *numeric_columns(metrics), *answers]


def check_columns(samples: pd.DataFrame, needed: Sequence[str]) -> None:
    """Raise NoContrast for a missing column or if there are no rows."""
    if missing := sorted(set(needed) - set(samples.columns)):
        raise NoContrast(f"the samples lack the columns {missing}; they have {sorted(samples.columns)}")
    if samples.empty:
        raise NoContrast("there are no samples to estimate from")


def _reduce(samples: pd.DataFrame, by: list[str], columns: list[str]) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the sums of `columns` per group, replicate, seed and problem, with n (samples) and codes of problem and stratum.

    Also return the row of each sample in that frame. Raise ValueError if a cell holds a sample index twice: the
    grouping then mixes runs that differ in a field that it leaves out.
    """
    keys = list(dict.fromkeys([*by, *DRAW, "benchmark", "problem_id"]))
    # one integer per cell, in the order of the keys, so that the sums below are bincounts
    cell = np.zeros(len(samples), dtype=np.int64)
    for name in keys:
        code = pd.factorize(samples[name], sort=True, use_na_sentinel=False)[0]
        cell = pd.factorize(cell * (code.max() + 1) + code, sort=True)[0]
    index = pd.factorize(samples["sample_index"])[0]
    if len(pd.unique(cell * (index.max() + 1) + index)) < len(samples):
        raise ValueError(f"duplicate sample index in a cell: grouping by {by} mixes different runs")
    first = samples[keys].iloc[np.unique(cell, return_index=True)[1]].reset_index(drop=True)
    sums = {name: np.bincount(cell, weights=samples[name].to_numpy(float)) for name in columns}
    frame = first.assign(
        n=np.bincount(cell),
        stratum=pd.factorize(first["benchmark"], sort=True)[0],
        problem=first.groupby(["benchmark", "problem_id"], sort=True).ngroup(),
        **sums,
    )
    return frame, cell


def _distinct(codes: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the number of groups in which each code occurs, by code."""
    width = group.max() + 1
    return np.bincount(np.unique(codes * width + group) // width)
