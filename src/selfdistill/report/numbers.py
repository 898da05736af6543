"""The frames of numbers that figures and tables read; `statistics` computes their intervals.

`study_estimates` and `study_differences` add to the plain groups (run x step x benchmark) what the figures need besides: the mean over
the OOD benchmarks (`benchmark` = `ood-mean`), the contexts of section 3 (`section-3`), and each epistemic word where a figure shows it. The
rule `estimate` stores them once per model; figures read those of the models that they show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import pandas as pd

from selfdistill.grading.epistemic import counts_by_problem, frequency_shift
from selfdistill.records.completeness import check_samples
from selfdistill.records.files import read_table, write_frame
from selfdistill.records.schemas import FAILED_OUTCOMES, samples_schema
from selfdistill.records.task import Facts, Task, job
from selfdistill.report.repetition import repetition
from selfdistill.report.samples import NUMBER_COLUMNS, joined, responses_of
from selfdistill.report.study_data import rows_of_run, runs_of
from selfdistill.statistics import (
    BASE_GROUP,
    GROUP_COLUMNS,
    INTERVENTION_GROUP,
    contrasts,
    estimates,
    group_shifts,
    intervention_estimates,
    last_step,
    with_common_end,
)
from selfdistill.study.jobs import NumbersParams
from selfdistill.study.methods import ON_POLICY
from selfdistill.vocabulary.runs import BASE, DRAW, RUN_FIELDS, SECTION_3, base_key
from selfdistill.vocabulary.words import EPISTEMIC_WORDS, REPETITION, SUBSTRING_COLUMNS

OOD_MEAN = "ood-mean"
DRAW_METRICS = {
    "correct": "accuracy",
    "response_tokens": "response_tokens",
    "epistemic_word": "epistemic_word",
}
"""Column of samples -> metric of its mean in `draw_means`."""
DIFFERENCE_METRICS = ("accuracy", "response_tokens", "epistemic_substring", "epistemic_word")


@job()
def estimate(task: Task) -> Facts:
    """Write all estimates, differences to base, means of each draw and word shifts of one model, from every sample of it."""
    params = NumbersParams.model_validate(task.params["job"])
    samples = with_common_end(declared_samples(task.input.samples, params))
    section_3 = joined(read_table(path, samples_schema(), NUMBER_COLUMNS) for path in task.input.section_3)
    found = study_estimates(samples, section_3, params.ood)
    write_frame(task.output.differences, study_differences(samples, params.ood))
    write_frame(task.output.draws, draw_means(samples, params.ood))
    count = len(samples)
    del samples, section_3  # before the texts come
    last, in_section_3 = repetition(task.input.last), repetition(task.input.section_3)
    repeated = repetition_estimates(with_common_end(last), in_section_3)
    write_frame(task.output.estimates, joined([found, repeated]))
    responses = responses_of(task.input.last, params.shift_benchmark)
    write_frame(task.output.shift, frequency_shifts(responses, params.shift_benchmark))
    return {"samples": count}


def declared_samples(paths: Sequence[str], params: NumbersParams) -> pd.DataFrame:
    """Return the samples of several runs without their texts; raise Incomplete if a file does not hold what is declared."""
    frames = []
    for path, declared in zip(paths, params.declared, strict=True):
        frames.append(read_table(path, samples_schema(), NUMBER_COLUMNS))
        check_samples(frames[-1], declared.step, declared.benchmarks, declared.samples, path)
    return joined(frames)


def ood_samples(samples: pd.DataFrame, ood: Sequence[str]) -> pd.DataFrame:
    """Return the samples of the OOD benchmarks; each benchmark stays a stratum of equal weight.

    A step at which not all of them were evaluated is left out, since its mean would be of other benchmarks.
    """
    outside = samples[samples["benchmark"].isin(list(ood))]
    at = outside.groupby([*RUN_FIELDS, "step"], observed=True)["benchmark"]
    return outside[at.transform("nunique") == len(ood)]


def study_estimates(samples: pd.DataFrame, section_3: pd.DataFrame, ood: Sequence[str]) -> pd.DataFrame:
    """Return every estimate that a figure or table shows.

    Args:
        samples: records.schemas.samples_schema, all runs. section_3: the four contexts, may be empty.
        ood: names of the OOD benchmarks.
    """
    frames = [estimates(samples), failed_shares(samples)] if len(samples) else []
    outside = ood_samples(samples, ood) if len(samples) else samples
    if len(outside):
        frames.append(estimates(outside, by=GROUP_COLUMNS[:-1]).assign(benchmark=OOD_MEAN))
    if len(section_3):
        frames.append(estimates(section_3.assign(benchmark=SECTION_3)))
        words = estimates(section_3.assign(benchmark=SECTION_3), metrics=SUBSTRING_COLUMNS)
        frames.append(words)
    return joined(frames)


def repetition_estimates(last: pd.DataFrame, section_3: pd.DataFrame) -> pd.DataFrame:
    """Return the mean share of repeated 4-grams of every run at its last step, benchmark by benchmark, and of section 3.

    last, section_3: repetition.repetition, either may be empty.
    """
    frames = [last, section_3.assign(benchmark=SECTION_3)]
    return joined(estimates(frame, metrics=(REPETITION,)) for frame in frames if len(frame))


def intervention_numbers(samples: pd.DataFrame, ood: Sequence[str]) -> pd.DataFrame:
    """Return what runs do under interventions on every benchmark and in the mean over the OOD benchmarks.

    samples: as `statistics.intervention_estimates` takes them. ood: names of the OOD benchmarks.
    """
    outside, by = ood_samples(samples, ood), [name for name in INTERVENTION_GROUP if name != "benchmark"]
    frames = [intervention_estimates(outside, by).assign(benchmark=OOD_MEAN)] if len(outside) else []
    return joined([intervention_estimates(samples), *frames])


def failed_shares(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the share of responses that grading could not judge, one metric per outcome of FAILED_OUTCOMES."""
    flags = {name: (samples["outcome"] == name).astype(float) for name in FAILED_OUTCOMES}
    return estimates(samples.assign(**flags), metrics=FAILED_OUTCOMES)


def study_differences(samples: pd.DataFrame, ood: Sequence[str]) -> pd.DataFrame:
    """Return every run's difference to its base at its last step, paired by problem, word by word too.

    Returns:
        statistics.contrasts' columns; empty if the study has no run beside its bases.
    """
    if samples.empty or (samples["method"] == BASE).all():
        return pd.DataFrame()
    final = last_step(samples)
    metrics = (*DIFFERENCE_METRICS, *SUBSTRING_COLUMNS)
    frames = [contrasts(final, BASE_GROUP, metrics=metrics)]
    outside = ood_samples(final, ood)
    if len(outside):
        plain = contrasts(outside, BASE_GROUP, by=GROUP_COLUMNS[:-1], metrics=DIFFERENCE_METRICS)
        frames.append(plain.assign(benchmark=OOD_MEAN))
    return pd.concat(frames, ignore_index=True)


def draw_means(samples: pd.DataFrame, ood: Sequence[str]) -> pd.DataFrame:
    """Return the plain means of every draw of every run at its last step, benchmark by benchmark and over the OOD benchmarks.

    Returns:
        one row per run, draw and benchmark: RUN_FIELDS, benchmark, and the metrics of DRAW_METRICS. No interval: one draw
        does not say how far another one would be.
    """
    final = last_step(samples)
    by = [*RUN_FIELDS, "benchmark"]
    means = (
        final.groupby(by, as_index=False, observed=True)[[*DRAW_METRICS]].mean().rename(columns=DRAW_METRICS)
    )
    outside = means[means["benchmark"].isin(list(ood))]
    mean = outside.groupby([*RUN_FIELDS], as_index=False, observed=True)[[*DRAW_METRICS.values()]].mean()
    return joined([means, mean.assign(benchmark=OOD_MEAN)])


def frequency_shifts(samples: pd.DataFrame, benchmark: str) -> pd.DataFrame:
    """Return the word shift of every on-policy run of the samples at its last step, on one benchmark.

    samples: run fields, step, benchmark, problem_id and response, such as `responses_of`.
    Returns: epistemic.frequency_shift's columns with the RUN_KEY fields, n_problems, k, n_replicates and n_seeds, and for the
        word's group (epistemic or not) statistics.group_shifts' columns, the same on each of its rows; responses
        of all draws are pooled, intervals are over problems. Empty if no run has both its own and its base's
        samples there.
    """
    if samples.empty:
        return pd.DataFrame()
    rows = samples[samples["benchmark"] == benchmark]
    start = cache(lambda model: counts_by_problem(rows_of_run(rows, base_key(model))))
    frames = []
    for run in runs_of(rows[rows["method"].isin(ON_POLICY)]):
        own, base = last_step(rows_of_run(rows, run)), rows_of_run(rows, base_key(run["model"]))
        if len(base):
            numbers = own[[*DRAW]]
            counts = {
                "n_problems": own["problem_id"].nunique(),
                "n_replicates": numbers["replicate"].nunique(),
            }
            counts |= {"n_seeds": numbers.groupby("replicate")["seed"].nunique().min()}
            counts |= {"k": len(own) // (counts["n_problems"] * len(numbers.drop_duplicates()))}
            groups = group_intervals(counts_by_problem(own), start(run["model"]))
            shift = frequency_shift(base, own).merge(groups, on="is_epistemic")
            frames.append(shift.assign(**run, **counts))
    return joined(frames)


def group_intervals(trained: pd.DataFrame, start: pd.DataFrame) -> pd.DataFrame:
    """Return mean shift and mean absolute shift of epistemic and of other words with intervals over problems.

    trained, start: epistemic.counts_by_problem of a run and of its base.
    """
    words = trained.columns.union(start.columns).union(pd.Index(EPISTEMIC_WORDS))
    problems = trained.index.intersection(start.index)
    aligned = [frame.reindex(index=problems, columns=words, fill_value=0.0) for frame in (trained, start)]
    flags = words.isin(EPISTEMIC_WORDS)
    shifts = group_shifts(*aligned, {"epistemic": flags, "other": ~flags})
    return shifts.assign(is_epistemic=shifts["group"] == "epistemic").drop(columns="group")


def problems_summary(
    training: Mapping[str, pd.DataFrame], benchmarks: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Count what Table 3 shows, from the problem sets themselves.

    Args:
        training, benchmarks: name -> problems frame (records.schemas.problems_schema).

    Returns:
        one row per training set and benchmark: dataset, benchmark, problems, types, shared_types (benchmark
        types that the training set has), benchmark_types, shared_questions (questions that are in both).
    """
    rows = []
    for dataset, own in training.items():
        types, questions = set(own["type"]), set(own["question"])
        for benchmark, other in benchmarks.items():
            rows.append(
                {
                    "dataset": dataset,
                    "benchmark": benchmark,
                    "problems": len(questions),
                    "types": len(types),
                    "shared_types": len(types & set(other["type"])),
                    "benchmark_types": other["type"].nunique(),
                    "shared_questions": len(questions & set(other["question"])),
                }
            )
    return pd.DataFrame(rows)
