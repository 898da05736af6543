"""How far a training moves the epistemic words and all others, as columns of the samples, so that a claim can test their ratio.

Fig. 12 shows the mean absolute shift of a group of words, against the base. With the sign of each word's shift fixed, it is the
difference of two means: of the counts of a response, each with that sign. These are the columns `shift_epistemic` and `shift_other`.
Chance adds to an absolute value, and more to the many rare words: the ratio is, if anything, too small.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

import numpy as np
import pandas as pd

from selfdistill.claims.ledger import SHIFTS
from selfdistill.claims.selection import PlannedPart
from selfdistill.grading.epistemic import response_words, vocabulary_counts
from selfdistill.report.samples import joined, responses_of
from selfdistill.vocabulary.runs import BASE
from selfdistill.vocabulary.words import EPISTEMIC_WORDS


def word_shifts(parts: Iterable[PlannedPart], paths: Sequence[str]) -> pd.DataFrame:
    """Return SHIFTS of the responses of the runs that a part needs them of, with the columns that identify a response; may be empty.

    parts: a plan, of which those with the metric `shift_epistemic` count; paths: files of samples, one per run, draw and
    step, of which the last step counts.
    """
    wanted = {
        (arm.benchmarks[0], *sorted("/".join(other.run.values()) for other in part.arms))
        for part in parts
        for arm in part.arms
        if part.metric == SHIFTS[0] and len({other.run["model"] for other in part.arms}) == 1
    }
    found = []
    for benchmark, *runs in sorted(wanted):
        own = final(path for path in paths if any(f"/{run}/" in path for run in runs))
        trained, base = (
            [path for path in own if (f"/{BASE}/" in path) == is_base] for is_base in (False, True)
        )
        if trained and base:
            found += signed_counts(trained, base, benchmark)
    return joined(found)


def final(paths: Iterable[str]) -> list[str]:
    """Return of every folder of samples the file of the last step."""
    by_step = sorted(paths, key=lambda path: (len(path), path))
    return list({os.path.dirname(path): path for path in by_step}.values())


def with_columns(samples: pd.DataFrame, shifts: pd.DataFrame) -> pd.DataFrame:
    """Return the samples with SHIFTS, NaN where there are none; as they are if `shifts` is empty."""
    if shifts.empty:
        return samples
    keys = [name for name in shifts.columns if name not in SHIFTS]
    shifts = shifts.astype({name: samples[name].dtype for name in keys})
    return samples.merge(shifts, how="left", on=keys, validate="many_to_one")


def signed_counts(trained: Sequence[str], base: Sequence[str], benchmark: str) -> list[pd.DataFrame]:
    """Return SHIFTS of every response of a trained run and its base, with the columns that identify it, one frame per file.

    trained, base: files of samples, one per draw. Each is read twice, so that the responses of one file are in memory.
    """
    means = [
        sum_of(vocabulary_counts(responses_of([path], benchmark)["response"]) for path in paths) / len(paths)
        for paths in (trained, base)
    ]
    shift = means[0].sub(means[1], fill_value=0.0)
    shift = shift.reindex(shift.index.union(pd.Index(EPISTEMIC_WORDS)), fill_value=0.0)
    epistemic = shift.index.isin(EPISTEMIC_WORDS)
    weights = [(np.sign(shift[own]) / own.sum()).to_dict() for own in (epistemic, ~epistemic)]
    return [signed(responses_of([path], benchmark), weights) for path in (*trained, *base)]


def sum_of(counts: Iterable[pd.Series]) -> pd.Series:
    """Return the sum of the counts of words, 0 where a word does not occur."""
    return reduce(lambda one, other: one.add(other, fill_value=0.0), counts)


def signed(responses: pd.DataFrame, weights: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """Return SHIFTS of every response: its count of each word times the word's weight, summed; weights: one mapping per column."""
    rows = [
        [sum(group.get(word, 0.0) * count for word, count in own) for group in weights]
        for own in (response_words(text).items() for text in responses["response"])
    ]
    kept = responses.drop(columns=["response", "correct", "response_tokens"])
    return kept.assign(**dict(zip(SHIFTS, np.array(rows).T, strict=True)))
