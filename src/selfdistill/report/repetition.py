"""How much responses repeat themselves, so that a loop of "wait" is not read as doubt: the metric beside the count of epistemic words.

It is computed from the stored texts, a few responses at a time; no record holds it, so old results have it too.
"""

from collections.abc import Iterable

import pandas as pd

from selfdistill.grading.epistemic import repeated_ngrams
from selfdistill.report.samples import joined, response_batches
from selfdistill.vocabulary.words import REPETITION


def repetition(paths: Iterable[str]) -> pd.DataFrame:
    """Return the share of repeated 4-grams (REPETITION, 0 to 1) of every response in files of samples.

    Columns: those of `responses_of` without the text, and REPETITION.
    """
    return joined(repeated(rows) for path in paths for rows in response_batches(path))


def repeated(responses: pd.DataFrame) -> pd.DataFrame:
    """Return responses with REPETITION in place of their text."""
    shares = [repeated_ngrams(text) for text in responses["response"]]
    return responses.drop(columns="response").assign(**{REPETITION: shares})
