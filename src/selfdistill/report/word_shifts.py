"""How far a training moves the epistemic words and all others, as columns of the samples, so that a claim can test their ratio.

Fig. 12 shows the mean absolute shift of a group of words, against the base. With the sign of each word's shift fixed, it is the
difference of two means: of the counts of a response, each with that sign. These are the columns `shift_epistemic` and `shift_other`.
Chance adds to an absolute value, and more to the many rare words: the ratio is, if anything, too small.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from selfdistill.claims.selection import PlannedPart
from selfdistill.grading.epistemic import frequency_shift, vocabulary_counts
from selfdistill.report.samples import joined, last_responses
from selfdistill.vocabulary.runs import BASE, RUN_KEY

SHIFTS = ("shift_epistemic", "shift_other")


def with_word_shifts(
    samples: pd.DataFrame, parts: Iterable[PlannedPart], paths: Sequence[str]
) -> pd.DataFrame:
    """Return the samples with the columns of SHIFTS where a part's runs are, NaN elsewhere; as they are if no part needs them.

    samples: of the files `paths`, one per run and draw; parts: a plan, of which those with the metric `shift_epistemic` count.
    """
    wanted = {
        (arm.benchmarks[0], *sorted("/".join(other.run.values()) for other in part.arms))
        for part in parts
        for arm in part.arms
        if part.metric == SHIFTS[0] and len({other.run["model"] for other in part.arms}) == 1
    }
    found = []
    for benchmark, *runs in sorted(wanted):
        own = [path for path in paths if any(f"/{run}/" in path for run in runs)]
        responses = last_responses(own, benchmark)
        if len(responses) and responses["method"].nunique() == 2:
            found.append(signed_counts(responses))
    if not found:
        return samples
    keys = [name for name in found[0].columns if name not in SHIFTS]
    columns = {name: samples[name].astype(str) for name in RUN_KEY}
    return samples.assign(**columns).merge(joined(found), how="left", on=keys)


def signed_counts(responses: pd.DataFrame) -> pd.DataFrame:
    """Return SHIFTS of every response of one trained run and its base, with the columns that identify it.

    responses: run fields, step, benchmark, problem_id, sample_index and response.
    """
    is_base = responses["method"].astype(str) == BASE
    shift = frequency_shift(responses[is_base], responses[~is_base])
    sizes = shift.groupby("is_epistemic")["word"].count()
    weight = np.sign(shift["shift"]) / shift["is_epistemic"].map(sizes)
    weights = [
        dict(zip(shift["word"][own], weight[own], strict=True))
        for own in (shift["is_epistemic"], ~shift["is_epistemic"])
    ]
    rows = [
        [sum(group.get(word, 0.0) * count for word, count in own) for group in weights]
        for own in (list(vocabulary_counts([text]).items()) for text in responses["response"])
    ]
    columns = {name: responses[name].astype(str) for name in RUN_KEY}
    kept = responses.drop(columns=["response", "correct", "response_tokens"]).assign(**columns)
    return kept.assign(**dict(zip(SHIFTS, np.array(rows).T, strict=True)))
