"""The mini study with generated numbers, for the tests of figures, tables and report: its grid, random numbers, real frames.

Directions are those of the paper (GRPO up and longer, SDPO down and shorter), so a figure looks like one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from selfdistill.claims.elsewhere import load_elsewhere
from selfdistill.claims.judge import Frames, judge_parts
from selfdistill.claims.ledger import load_ledger
from selfdistill.claims.selection import plan_claims
from selfdistill.claims.verdicts import as_record, judge_claims
from selfdistill.grading.epistemic import count_columns
from selfdistill.report.diagnosis import DiagnosedData
from selfdistill.report.drawing import draw_figure, make_table
from selfdistill.report.numbers import (
    draw_means,
    frequency_shifts,
    intervention_numbers,
    problems_summary,
    repetition_estimates,
    study_differences,
    study_estimates,
)
from selfdistill.report.repetition import repeated as repeated_in
from selfdistill.report.samples import joined
from selfdistill.report.screening import with_screening
from selfdistill.report.study_data import StudyData, rows_of_runs
from selfdistill.report.tables.form import Table
from selfdistill.report.tables.reported import load_reported
from selfdistill.statistics import last_step, richness_estimates
from selfdistill.study.diagnosis import diagnosed_params
from selfdistill.study.displays import FIGURES, TABLES, display_of
from selfdistill.study.load import load_study
from selfdistill.study.shown import (
    display_names,
    intervened_runs,
    main_runs,
    run_keys,
    runs_shown,
    with_bases,
)
from selfdistill.study.study import Study
from selfdistill.vocabulary.diagnosis import FEATURES
from selfdistill.vocabulary.runs import RUN_KEY, base_key
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

CONFIG = Path(__file__).parents[2] / "config"
REPORTED = CONFIG / "reported.yaml"


def mini_study() -> Study:
    """Return the mini study, every figure and table of the registry declared."""
    mini = load_study(CONFIG / "mini.yaml")
    experiments = {"section 3": []}
    figures = {name: experiments.get(FIGURES[name].shows, ["on-policy"]) for name in FIGURES}
    figures |= mini.file.figures
    tables = {name: [] for name, shown in TABLES.items() if shown.shows == "section 3"}
    tables |= {"interventions": ["on-policy"]} | mini.file.tables
    return replace(mini, file=mini.file.model_copy(update={"figures": figures, "tables": tables}))


STUDY = mini_study()
MODELS = display_names(STUDY)["labels"]
BENCHMARKS = {
    "in-domain": {"label": "In domain (2-3 operations)", "ood": False},
    "shorter": {"label": "Shorter (1 operation)", "ood": True},
    "longer": {"label": "Longer (4 operations)", "ood": True},
    "paired": {"label": "Paired chains", "ood": True},
}
STEPS, PROBLEMS, SAMPLES = 40, 12, 4
PLAIN = ("so", "then", "x", "is", "try", "plus", "gives", "no", "4", "7")
CONTEXT_EFFECT = {"unguided": 1.0, "answer-only": 0.55, "regeneration": 0.4, "solution": 0.3}
FURTHER_EFFECT = {"other-solution": 0.5, "wrong-solution": 0.6, "hint-parity": 0.9, "hint-half": 0.8}
EFFECT = {"none": 1.25, "solution": 0.35, "answer-only": 0.65, "unguided": 1.1, "other-solution": 0.9}


def run(
    model: str, method: str, context: str = "none", teacher: str = "none", **other: str
) -> dict[str, str]:
    """Return the RUN_KEY fields of a run on the broad data set."""
    fields = {"dataset": "chain", "coverage": "full", "variant": "default", **other}
    return dict(zip(RUN_KEY, (model, method, context, teacher, *fields.values()), strict=True))


def all_runs() -> list[dict[str, str]]:
    """Return every trained run of the study."""
    return run_keys(STUDY.runs())


def training_frame(runs: list[dict[str, str]], seeds: int) -> pd.DataFrame:
    """Return the training record of the on-policy runs."""
    rng, rows = np.random.default_rng(1), []
    for fields in runs:
        if fields["method"] not in ("grpo", "sdpo"):
            continue
        gain = (EFFECT[fields["context"]] - 1) * 0.3
        for seed in range(seeds):
            for step in range(STEPS):
                part = step / STEPS
                score = np.clip(0.42 + gain * part + rng.normal(0, 0.03), 0, 1)
                length = 30 * (1 + (EFFECT[fields["context"]] - 1) * min(2 * part, 1)) + rng.normal(0, 1)
                rows.append(
                    {
                        **fields,
                        "replicate": 0,
                        "seed": seed,
                        "step": step,
                        "score": score,
                        "response_tokens": length,
                        "tokens": round(96 * length),
                    }
                )
    frame = pd.DataFrame(rows)
    return frame.assign(tokens=frame.groupby([*RUN_KEY, "seed"])["tokens"].cumsum())


def responses(fields: dict[str, str], benchmark: str, step: int, seed: int, scale: float) -> pd.DataFrame:
    """Return samples whose accuracy, length and epistemic words follow `scale` (1: the base)."""
    rng = np.random.default_rng(crc32(repr([fields, benchmark, step, seed]).encode()))
    count = PROBLEMS * SAMPLES
    hard = np.repeat(np.random.default_rng(len(benchmark)).normal(0, 0.15, PROBLEMS), SAMPLES)
    correct = rng.random(count) < np.clip(0.42 + 0.3 * (scale - 1) + hard, 0, 1)
    sizes, drawn, plain = (
        rng.poisson(5 * scale, count),
        rng.integers(10, size=(count, 40)),
        rng.integers(10, size=(count, 12)),
    )
    texts = [
        " ".join(
            [EPISTEMIC_WORDS[word] for word in drawn[row, : sizes[row]]]
            + [PLAIN[word] for word in plain[row]]
        )
        + " \\boxed{4}"
        for row in range(count)
    ]
    frame = pd.DataFrame(
        {**fields, "replicate": 0, "seed": seed, "step": step, "benchmark": benchmark}, index=range(count)
    )
    frame["problem_id"] = [f"{benchmark}-{index // SAMPLES}" for index in range(count)]
    frame["sample_index"] = np.arange(count) % SAMPLES
    frame["response"], frame["correct"] = texts, correct
    frame["outcome"] = np.where(correct, "correct", np.where(np.arange(count) % 9, "wrong", "no_answer"))
    frame["extracted_answer"] = np.where(
        correct, "4", np.char.add("not ", (np.arange(count) % 3).astype(str))
    )
    frame["response_tokens"] = [len(text.split()) + 4 for text in texts]
    frame["thinking_tokens"], frame["truncated"] = frame["response_tokens"] - 4, False
    return pd.concat([frame, count_columns(texts)], axis=1)


def benchmarks_beside(fields: dict[str, str]) -> list[str]:
    """Return the benchmarks of a run's training set, a base having those of its model's runs."""
    trained_on = {one["dataset"] for one in all_runs() if one["model"] == fields["model"]}
    sets = trained_on if fields["method"] == "base" else {fields["dataset"]}
    return [
        name for dataset, names in STUDY.file.benchmarks.also.items() if dataset in sets for name in names
    ]


@cache
def samples_frame(seeds: int, at: tuple[int, ...] = (10, 20, 30, STEPS)) -> pd.DataFrame:
    """Return the samples of every run, at some steps (SFT: its end), and of the bases."""
    frames = []
    for fields in [base_key(model) for model in MODELS] + all_runs():
        method = fields["method"]
        steps = {"base": (0,), "sft": (STEPS,)}.get(method, at)
        for step in steps:
            effect = 1.0 if method == "base" else EFFECT[fields["context"]]
            scale = 1 + (effect - 1) * (step / STEPS if method != "base" else 0)
            for benchmark in (*BENCHMARKS, *benchmarks_beside(fields)):
                frames += [responses(fields, benchmark, step, seed, scale) for seed in range(seeds)]
    return pd.concat(frames, ignore_index=True)


def intervention_frame(seeds: int) -> pd.DataFrame:
    """Return the last samples of the runs of the table and of their bases, without and under two interventions."""
    frames = []
    for fields in run_keys(intervened_runs(STUDY)):
        scale = 1.0 if fields["method"] == "base" else EFFECT[fields["context"]]
        scales = {"none": scale, "ban": scale / 2} | (
            {"force": max(scale, 1.0)} if fields["method"] != "base" else {}
        )
        for (name, own), benchmark, seed in product(scales.items(), BENCHMARKS, range(seeds)):
            frame = responses(fields, benchmark, STEPS, seed, own)
            frames.append(frame.drop(columns="response").assign(intervention=name))
    return pd.concat(frames, ignore_index=True)


def section_3_frame(effects: Mapping[str, float] = CONTEXT_EFFECT) -> pd.DataFrame:
    """Return the samples of some contexts for two models; `dataset` as in a study: where the problems come from."""
    frames = []
    for model in list(MODELS)[:2]:
        for context, effect in effects.items():
            fields = {**base_key(model), "context": context, "dataset": "chain"}
            frames.append(responses(fields, "chain", 0, 0, effect))
    return pd.concat(frames, ignore_index=True)


def richness_frame(effects: Mapping[str, float] = CONTEXT_EFFECT) -> pd.DataFrame:
    """Return measured richness for the two models of section 3: 12 nats less twelve times the effect of the context, half at the answer.

    Unguided responses are told as many nats less than nothing.
    """
    rng, rows = np.random.default_rng(3), []
    guided = [context for context in effects if context != "unguided"]
    pairs = [("unguided", "unguided"), *((c, written) for c in guided for written in ("unguided", c))]
    for model, (context, written) in product(list(MODELS)[:2], pairs):
        for problem, sample in np.ndindex(PROBLEMS, 3):
            told = (1 - effects[context]) * (12 + rng.normal(0, 1)) * (1 if written == context else -1)
            key = {**base_key(model), "context": context, "written": written, "replicate": 0, "seed": 0}
            key |= {"problem_id": f"chain-{problem}", "sample_index": sample}
            key |= {"source": written == "unguided" and sample == 0}
            rows += [{**key, "position": at, "tokens": 4, "nats": told / 2} for at in ("answer", "other")]
    return pd.DataFrame(rows)


def diagnosis_frame(seeds: int) -> pd.DataFrame:
    """Return the finished runs of the study: a change is what the change of epistemic words says, and a hundredth of a point of noise."""
    rng = np.random.default_rng(4)
    asked = diagnosed_params(STUDY).runs
    plans = 1 + rng.random((1 + max(one.plan for one in asked), len(FEATURES)))
    rows = []
    for one, seed in product(asked, range(seeds)):
        own = dict(zip(FEATURES, plans[one.plan], strict=True))
        change = 0.3 * own["epistemic_change"] - 0.5 + rng.normal(0, 1e-4)
        groups = {"family": one.family, "base": one.base}
        rows.append({**one.run, "seed": seed, **groups, **own, "change": change})
    return pd.DataFrame(rows)


def replicated(frame: pd.DataFrame, replicates: int) -> pd.DataFrame:
    """Return samples of several seeds as those of as many replicates, with generated columns of word shifts."""
    kept = frame[frame["seed"] < replicates]
    shifts = {
        "shift_epistemic": kept["epistemic_substring"] / 10,
        "shift_other": kept["correct"] / 10,
    }
    return kept.assign(replicate=kept["seed"], seed=0, **shifts)


def claim_frames(replicates: int) -> Frames:
    """Return what the ledger is judged from: samples, section 3 and last training steps of every replicate."""
    draws = range(replicates)
    section_3 = [
        responses({**base_key(model), "context": context, "dataset": "chain"}, "chain", 0, draw, effect)
        for model in STUDY.section_3_models()
        for context, effect in CONTEXT_EFFECT.items()
        for draw in draws
    ]
    rollouts = [
        responses(fields, "training", STEPS, draw, EFFECT[fields["context"]])
        for fields in all_runs()
        if fields["coverage"] != "full" or fields["dataset"] == STUDY.file.domains.narrow
        for draw in draws
    ]
    frames = (samples_frame(replicates, (10, STEPS)), pd.concat(section_3), pd.concat(rollouts))
    return Frames(*(replicated(frame, replicates) for frame in frames))


@cache
def claims_record(replicates: int = 3) -> dict:
    """Return the claims ledger of the generated study (claims.json), with that many replicates of one seed."""
    ledger = load_ledger(CONFIG / "claims.yaml")
    parts = plan_claims(ledger, load_study(CONFIG / "mini.yaml", replicates=range(replicates)))
    results = judge_parts(parts, claim_frames(replicates), ledger.alpha)
    elsewhere = load_elsewhere(CONFIG / "elsewhere.yaml", ledger)
    return as_record(ledger, "generated", judge_claims(ledger, results), elsewhere)


def problem_frame(types: list[str], count: int, start: int = 0) -> pd.DataFrame:
    """Return the columns of a problem set that Table 3 counts."""
    rows = [(types[index % len(types)], f"question {start + index}") for index in range(count)]
    return pd.DataFrame(rows, columns=["type", "question"])


@cache
def study(seeds: int = 1) -> StudyData:
    """Return the generated study with everything loaded."""
    contexts = section_3_frame()
    samples, ood = samples_frame(seeds), [name for name, entry in BENCHMARKS.items() if entry["ood"]]
    training = {"chain": problem_frame(["d2", "d3"], 60), "narrow": problem_frame(["d1"], 12, 100)}
    benchmarks = {
        "in-domain": problem_frame(["d2", "d3"], 10, 200),
        "shorter": problem_frame(["d1"], 10, 300),
        "longer": problem_frame(["d4"], 10, 400),
        "paired": problem_frame(["s22"], 10, 500),
    }
    repeated = repetition_estimates(repeated_in(last_step(samples)), repeated_in(contexts))
    return DiagnosedData(
        title="Generated study",
        training=training_frame(all_runs(), seeds),
        estimates=joined([study_estimates(samples, contexts, ood), repeated]),
        differences=study_differences(samples, ood),
        shift=frequency_shifts(samples, STUDY.shift_benchmark()),
        draws=draw_means(samples, ood),
        interventions=intervention_numbers(intervention_frame(seeds), ood),
        richness=richness_estimates(richness_frame()),
        problems=problems_summary(training, benchmarks),
        diagnosis=diagnosis_frame(seeds),
        reported=load_reported(REPORTED),
        **display_names(STUDY) | {"benchmarks": BENCHMARKS},
    )


@cache
def further_study() -> StudyData:
    """Return the generated study whose section 3 answers under further contexts too."""
    effects = CONTEXT_EFFECT | FURTHER_EFFECT
    contexts = section_3_frame(effects)
    numbers = [
        study_estimates(pd.DataFrame(), contexts, []),
        repetition_estimates(pd.DataFrame(), repeated_in(contexts)),
    ]
    return replace(study(), estimates=joined(numbers), richness=richness_estimates(richness_frame(effects)))


def drawn(name: str, seeds: int = 1) -> StudyData:
    """Return what the study file lets a figure or table show."""
    runs = run_keys(runs_shown(STUDY, name))
    data = study(seeds).of_runs(runs) if runs else study(seeds)
    if "screening" not in display_of(name).frames:
        return data
    return with_screening(
        data, rows_of_runs(samples_frame(seeds), run_keys(with_bases(runs_shown(STUDY, name))))
    )


def reported_on(data: StudyData) -> StudyData:
    """Return the data with the runs that the report's summary speaks of."""
    return replace(data, runs=data.in_order(run_keys(main_runs(STUDY))))


def draw(name: str, data: StudyData | None = None) -> tuple[Figure, str]:
    """Return a figure and its caption, by default of the generated study."""
    return draw_figure(FIGURES[name].draw, data or drawn(name), FIGURES[name].options)


def table(name: str, data: StudyData | None = None) -> Table:
    """Return a table, by default of the generated study."""
    display = display_of(name)
    return make_table(display.draw, data or drawn(name), display.options, name=name, title=display.title)
