"""The two frames of numbers that figures and tables read; `statistics` computes all of them.

`study_estimates` and `study_differences` add to the plain groups (run x step x benchmark) what the figures
need besides: the mean over the OOD benchmarks (`benchmark` = `ood-mean`), the contexts of section 3
(`section-3`), and each epistemic word where a figure shows it. A rule calls them once a study and stores the
result; figures only read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from selfdistill.statistics import BASE, BY, contrasts, estimates, last_step
from selfdistill.vocabulary.words import SUBSTRING_COLUMNS

OOD_MEAN = "ood-mean"
DIFFERENCE_METRICS = ("accuracy", "response_tokens", "epistemic_substring", "epistemic_word")


def ood_samples(samples: pd.DataFrame, ood: Sequence[str]) -> pd.DataFrame:
    """Return the samples of the OOD benchmarks; each benchmark stays a stratum of equal weight."""
    return samples[samples["benchmark"].isin(list(ood))]


def study_estimates(
    samples: pd.DataFrame, section_3: pd.DataFrame, ood: Sequence[str], **settings: Any
) -> pd.DataFrame:
    """Return every estimate that a figure or table shows.

    Args:
        samples: artifacts.samples_schema, all runs. section_3: the four contexts, may be empty.
        ood: names of the OOD benchmarks. settings: n_boot, seed, level of `statistics.estimates`.
    """
    frames = [estimates(samples, **settings)]
    outside = ood_samples(samples, ood)
    if len(outside):
        frames.append(estimates(outside, by=BY[:-1], **settings).assign(benchmark=OOD_MEAN))
    if len(section_3):
        frames.append(estimates(section_3.assign(benchmark="section-3"), **settings))
        words = estimates(section_3.assign(benchmark="section-3"), metrics=SUBSTRING_COLUMNS, **settings)
        frames.append(words)
    return pd.concat(frames, ignore_index=True)


def study_differences(samples: pd.DataFrame, ood: Sequence[str], **settings: Any) -> pd.DataFrame:
    """Return every run's difference to its base at its last step, paired by problem, word by word too.

    Returns:
        statistics.contrasts' columns; empty if the study has no run beside its bases.
    """
    final = last_step(samples)
    if (final["method"] == "base").all():
        return pd.DataFrame()
    metrics = (*DIFFERENCE_METRICS, *SUBSTRING_COLUMNS)
    frames = [contrasts(final, BASE, metrics=metrics, **settings)]
    outside = ood_samples(final, ood)
    if len(outside):
        plain = contrasts(outside, BASE, by=BY[:-1], metrics=DIFFERENCE_METRICS, **settings)
        frames.append(plain.assign(benchmark=OOD_MEAN))
    return pd.concat(frames, ignore_index=True)
