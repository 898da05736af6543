"""The numbers of the table `screening`, from the samples of all checkpoints of its runs and their bases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from selfdistill.records.files import read_table
from selfdistill.records.schemas import samples_schema
from selfdistill.report.samples import CLAIM_COLUMNS, joined
from selfdistill.report.study_data import StudyData
from selfdistill.statistics.screening import INSIDE, OUTSIDE, screened


def screening_benchmarks(data: StudyData) -> dict[str, list[str]]:
    """Return on what runs are screened: the benchmark in domain, and the headline out of domain, which every checkpoint is evaluated on."""
    outside = data.benchmark_names(ood=True)
    headline = [name for name in data.headline if name in outside]
    return {INSIDE: [data.inside], OUTSIDE: headline or outside}


def with_screening(data: StudyData, samples: pd.DataFrame) -> StudyData:
    """Return the data whose differences are those of the screening; samples: of all its runs' checkpoints and of their bases."""
    return replace(data, differences=screened(samples, data.training, screening_benchmarks(data)))


def screening_samples(paths: Sequence[str]) -> pd.DataFrame:
    """Return the samples in some files, without their texts."""
    return joined(read_table(path, samples_schema(), CLAIM_COLUMNS) for path in paths)
