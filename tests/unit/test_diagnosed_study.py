"""A study that diagnoses its runs: which plans are measured, what the jobs write, and the errors that the report shows."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from spoiled import CONFIG, on_gpus
from synthetic_study import STUDY, diagnosis_frame, draw, table
from tiny import save_base, save_problems

from selfdistill.commands import diagnose as command
from selfdistill.commands.costs import Assumptions, costs_of, gpu_hours, parameters
from selfdistill.commands.status import expected_jobs
from selfdistill.generation.protocol import Sampling
from selfdistill.generation.transformers_backend import TransformersGenerator
from selfdistill.models.prompts import prompt_ids
from selfdistill.problems.problem import read_problems
from selfdistill.records.files import read_table, write_frame, write_table
from selfdistill.records.paths import Paths
from selfdistill.records.schemas import diagnosis_schema
from selfdistill.records.task import Task
from selfdistill.report.diagnosis import DiagnosedData, finished_runs, join_diagnosis
from selfdistill.report.drawing import shown_data
from selfdistill.report.study_data import FigureError
from selfdistill.report.style import CONTEXT_SYMBOLS
from selfdistill.statistics.prediction import UNKNOWN, error, held_out, left_out, matrix, predict
from selfdistill.study.diagnosis import (
    DiagnosedParams,
    diagnosed_params,
    diagnosed_runs,
    diagnosis_params,
    measured_runs,
)
from selfdistill.study.load import load_study
from selfdistill.study.methods import METHODS
from selfdistill.study.shown import display_job
from selfdistill.training import diagnosis
from selfdistill.vocabulary.diagnosis import FEATURES, MEASURED_ON
from selfdistill.vocabulary.runs import RUN_FIELDS, Run, base_run

MINI, BEYOND = (load_study(CONFIG / f"{name}.yaml") for name in ("mini", "beyond"))


def test_a_plan_is_measured_once_for_all_methods_teachers_rates_and_seeds():
    study = load_study(CONFIG / "beyond.yaml", replicates=[0, 1], seeds=[0, 1])
    runs = diagnosed_runs(study)
    taught = {name for name, method in METHODS.items() if method.has_teacher}
    assert {run.method for run in runs} == taught - {"sdpo-positions"}  # no experiment of these shows it
    plans = {
        (run.model, run.context, run.dataset, run.coverage, run.replicate, study.settings_for(run).top_k)
        for run in runs
    }
    assert len(measured_runs(study)) == len(plans) == 24
    assert all(run.seed == 0 for run in measured_runs(study))


def test_what_a_plan_says_of_rollouts_loss_and_teacher_is_measured_anew():
    found = {run.variant for run in measured_runs(MINI)}
    assert found == {"default", "hybrid", "topk-50", "coverage", "narrow"}, "a learning rate is no plan"
    plans = {run.variant: diagnosis_params(MINI, run) for run in measured_runs(MINI)}
    assert (plans["topk-50"].top_k, plans["default"].top_k) == (50, 20)
    assert (plans["hybrid"].thinking, plans["hybrid"].teacher_thinking) == ("off", "on")
    assert plans["default"].teacher_thinking == plans["default"].thinking
    again = diagnosis.DiagnosisParams.model_validate(json.loads(json.dumps(plans["hybrid"].model_dump())))
    assert again == plans["hybrid"]


def test_only_a_study_that_shows_it_measures_and_every_measurement_is_a_job_with_a_cost():
    plain = load_study(CONFIG / "single_gpu.yaml")
    assert measured_runs(plain) == () and diagnosed_params(plain).runs == []
    kinds = [entry.kind for entry in expected_jobs(MINI)]
    assert kinds.count("diagnosis") == len(measured_runs(MINI)) == 16
    study, run = on_gpus(MINI, 1), measured_runs(MINI)[0]
    cost = costs_of(study, Assumptions(peak_tflops=1.0))[Paths("mini").manifest(Paths("mini").diagnosis(run))]
    tokens = cost.tokens.mid
    assert cost.rule == "measure_diagnosis" and tokens == 2 * 64 * 8 * 256
    size, tokens, length = parameters(study, "r1-mini"), ([tokens] * 3), ([256] * 3)
    decoded = gpu_hours(size, tokens, length, 1, 1.0, Assumptions().decoding_utilisation).mid
    read = gpu_hours(size, tokens, [512] * 3, 3, 1.0, Assumptions().training_utilisation).mid
    assert cost.gpu_hours.mid == pytest.approx(decoded + read)


def job_of(study, run, folder, template: str) -> Task:
    """The job that measures a run's plan on a tiny base."""
    output = SimpleNamespace(features=str(folder / "features.parquet"))
    inputs = SimpleNamespace(
        base=str(save_base(folder / "base", template)), data=str(save_problems(folder / "p.parquet", 12))
    )
    return Task({"job": diagnosis_params(study, run).model_dump()}, inputs, output, folder / "resume")


def test_the_job_writes_what_the_command_measures(tmp_path):
    run = next(run for run in measured_runs(MINI) if run.variant == "default" and run.context == "solution")
    task = job_of(MINI, run, tmp_path, "r1")
    task.params["job"].update(rollouts=16, max_new_tokens=32)
    facts = diagnosis.measure_diagnosis(task)
    (row,) = read_table(task.output.features, diagnosis_schema()).to_dict("records")
    plan = diagnosis.Plan("solution", "r1", Sampling(max_new_tokens=32), rollouts=16)
    generator = TransformersGenerator.load(task.input.base, "prompt-tag")
    expected = diagnosis.diagnose(generator, read_problems(task.input.data), plan)
    assert {name: row[name] for name in (*FEATURES, *MEASURED_ON)} == pytest.approx(expected, nan_ok=True)
    assert row["responses"] == facts["responses"] == 12 * 16 and row["divergence"] > 0
    fields = base_run(run.model, 0, 0).fields()
    fields |= {"context": "solution", "dataset": "chain", "coverage": "full"}
    assert {name: row[name] for name in RUN_FIELDS} == fields


def test_a_base_that_solves_nothing_has_a_row_without_what_its_teacher_would_say(tmp_path):
    run = measured_runs(MINI)[0]
    task = job_of(MINI, run, tmp_path, "r1")
    task.params["job"].update(rollouts=2, max_new_tokens=2)
    diagnosis.measure_diagnosis(task)
    (row,) = read_table(task.output.features, diagnosis_schema()).to_dict("records")
    unknown = {name for name in FEATURES if np.isnan(row[name])}
    assert unknown == {
        *(
            "divergence",
            "epistemic_change",
            "epistemic_change_at_forks",
            "nats_per_response",
            "nats_per_token",
        )
    }
    assert (row["accuracy"], row["demonstration_share"], row["demonstrated"], row["guided"]) == (0, 0, 0, 0)


def test_the_teacher_of_the_hybrid_thinks_and_its_student_does_not(tmp_path, monkeypatch):
    run = next(run for run in measured_runs(MINI) if run.variant == "hybrid")
    task, seen, asked = job_of(MINI, run, tmp_path, "qwen3"), [], []
    task.params["job"].update(rollouts=8, max_new_tokens=24)
    contrast, generate = diagnosis.token_contrast, TransformersGenerator.generate

    def watch(model, students, teachers, *rest):
        seen.append((students, teachers))
        return contrast(model, students, teachers, *rest)

    def answer(self, turns, *rest):
        asked.append((self.thinking, list(turns)))
        return generate(self, turns, *rest)

    monkeypatch.setattr(diagnosis, "token_contrast", watch)
    monkeypatch.setattr(TransformersGenerator, "generate", answer)
    diagnosis.measure_diagnosis(task)
    (off, bare), (on, guided) = asked
    assert (off, on) == ("off", "on")
    tokenizer = TransformersGenerator.load(task.input.base, "off").tokenizer
    ((students, teachers),) = seen
    for ids, turns, thinking in ((students, bare, "off"), (teachers, guided, "on")):
        allowed = prompt_ids(tokenizer, turns, thinking)
        assert any(own in allowed for own in ids)
        assert not any(
            own in prompt_ids(tokenizer, turns, {"off": "on", "on": "off"}[thinking]) for own in ids
        )


def run_of(context: str, seed: int = 0) -> Run:
    """A run of SDPO on the Qwen2 organism."""
    return Run("r1-mini", "sdpo", context, "fixed", "chain", "full", "default", 0, seed)


def draws(rows: dict[Run, dict[str, float]]) -> pd.DataFrame:
    """Accuracies of runs by benchmark."""
    return pd.DataFrame(
        [
            {**run.fields(), "benchmark": name, "accuracy": own[name]}
            for run, own in rows.items()
            for name in own
        ]
    )


ACCURACIES = {
    base_run("r1-mini", 0, 0): {"longer": 0.5, "paired": 0.3, "shorter": 0.9},
    base_run("r1-mini", 0, 1): {"longer": 0.4, "paired": 0.4, "shorter": 0.9},
    run_of("solution"): {"longer": 0.2, "paired": 0.2, "shorter": 0.1},
    run_of("solution", 1): {"longer": 0.5, "paired": 0.5, "shorter": 0.1},
    run_of("answer-only"): {"longer": 0.5, "paired": 0.2, "shorter": 0.1},
}
ASKED = DiagnosedParams(
    ood=["longer", "paired"],
    runs=[
        {"run": run.fields(), "family": "r1", "base": "r1-mini/replicate-0", "plan": plan}
        for run, plan in ((run_of("solution"), 0), (run_of("solution", 1), 0), (run_of("answer-only"), 1))
    ],
)


def test_the_change_of_a_run_is_against_the_base_of_its_draw(tmp_path):
    features = [dict.fromkeys(FEATURES, 1.0), dict.fromkeys(FEATURES, 2.0) | {"nats_per_token": float("nan")}]
    paths = []
    for number, own in enumerate(features):
        row = {"study": "s", **run_of("solution").fields(), **own, **dict.fromkeys(MEASURED_ON, 3)}
        paths.append(str(tmp_path / f"{number}.parquet"))
        write_table(paths[-1], pd.DataFrame([row]), diagnosis_schema())
    write_frame(tmp_path / "draws.parquet", draws(ACCURACIES))
    inputs = SimpleNamespace(features=paths, draws=[str(tmp_path / "draws.parquet")])
    output = SimpleNamespace(runs=str(tmp_path / "diagnosis.csv"))
    join_diagnosis(Task({"job": ASKED.model_dump()}, inputs, output, tmp_path / "resume"))
    found = command.finished_runs(str(tmp_path))
    assert found["change"].tolist() == pytest.approx([-0.2, 0.1, -0.05])
    assert found["seed"].tolist() == [0, 1, 0] and set(found["base"]) == {"r1-mini/replicate-0"}
    assert found["divergence"].tolist() == [1, 1, 2] and found["nats_per_token"].isna().tolist() == [0, 0, 1]
    assert predict(found, features[0], "solution").verdict == UNKNOWN
    data = shown_data(
        Task({}, SimpleNamespace(diagnosis=output.runs), output, tmp_path), display_job(MINI, "diagnosis")
    )
    assert len(data.diagnosis) == 3 and len(data.runs) == len(display_job(MINI, "diagnosis").runs)


def test_a_run_without_its_base_is_an_error():
    alone = draws({run: own for run, own in ACCURACIES.items() if run.method != "base" or run.seed == 0})
    with pytest.raises(KeyError):
        finished_runs([dict.fromkeys(FEATURES, 1.0)] * 2, alone, ASKED)


def test_groups_and_benchmarks_of_the_mini_study():
    study = load_study(CONFIG / "mini.yaml", replicates=[0, 1])
    asked = diagnosed_params(study)
    assert asked.ood == ["longer", "paired"]
    assert {(one.family, one.base) for one in asked.runs} == {
        (family, f"{base}/replicate-{number}")
        for family, base in (("r1", "r1-mini"), ("qwen3", "qwen3-mini"), ("olmo3", "olmo3-mini"))
        for number in (0, 1)
    }
    assert len(asked.runs) == len(diagnosed_runs(study)) and not {one.run["method"] for one in asked.runs} - {
        "sdpo"
    }
    assert {one.plan for one in asked.runs} == set(range(len(measured_runs(study))))


def finished(name: str) -> DiagnosedData:
    """The finished runs of the generated study that a figure or table shows."""
    shown = display_job(STUDY, name)
    return DiagnosedData(diagnosis=diagnosis_frame(1), **shown.names).of_runs(shown.runs)


def test_the_table_shows_that_planted_features_predict_left_out_groups():
    data = finished("diagnosis")
    rows = family, context, base = table("diagnosis", data).rows
    changes, groups = data.diagnosis["change"].to_numpy(), data.diagnosis["family"].to_numpy()
    constant = left_out(matrix(data.diagnosis), changes, groups, [float("inf")])[0]
    assert family["Error of the mean of the others"].value == pytest.approx(100 * error(changes, constant))
    assert [row["Groups"].value for row in rows] == [3, data.diagnosis["context"].nunique(), 3]
    for row in (family, base):
        assert row["Runs"].value == len(data.diagnosis) > 15
        assert row["Error of the features"].value < row["Error of the mean of the others"].value
        assert row["Better"].text == "features"
    noise = np.random.default_rng(0).normal(size=len(data.diagnosis))
    table_of_noise = table("diagnosis", replace(data, diagnosis=data.diagnosis.assign(change=noise)))
    assert table_of_noise.rows[0]["Better"].text == "mean of the others"


def test_too_few_groups_are_said_and_runs_without_a_feature_are_counted():
    data = finished("diagnosis")
    alone = data.diagnosis.query("family == 'r1' and context == 'solution'")
    one = replace(data, diagnosis=alone)
    shown = table("diagnosis", one)
    assert set(shown.formatted["Better"]) == {"too few groups"} and set(shown.raw["column"]) == {
        "Groups",
        "Runs",
    }
    nothing = replace(data, diagnosis=alone.assign(nats_per_token=np.nan))
    assert (
        f"0 runs, each replicate and seed one run, in groups: 0 of `family`, 0 of `context`, 0 of `base`; {len(alone)} others"
        in (table("diagnosis", nothing).note)
    )
    for some in (one, nothing):
        figure, caption = draw("prediction", some)
        assert [text.get_text() for axis in figure.axes for text in axis.texts] == ["too few groups"] * 3
    with pytest.raises(FigureError, match="no finished run"):
        table("diagnosis", replace(data, diagnosis=pd.DataFrame()))


def test_the_figure_has_one_point_per_run_where_the_other_groups_put_it():
    data = finished("prediction")
    rows, figure = data.diagnosis, draw("prediction", data)[0]
    changes = rows["change"].to_numpy()
    for axis, kind in zip(figure.axes, ("family", "context", "base"), strict=True):
        line, *marks = axis.lines
        points = np.concatenate([np.column_stack(mark.get_data()) for mark in marks])
        predicted = held_out(matrix(rows), changes, rows[kind].to_numpy())
        expected = 100 * np.column_stack([predicted, changes])
        assert (
            np.sort(points.view("f8,f8"), axis=0).tolist() == np.sort(expected.view("f8,f8"), axis=0).tolist()
        )
        assert list(line.get_xdata()) == list(line.get_ydata()) == [expected.min(), expected.max()]
    moving = data.diagnosis.assign(teacher="ema-0.05")  # a pair that no fixed teacher has
    for one in (figure, draw("prediction", replace(data, diagnosis=moving))[0]):
        check_legend(one, rows)


def check_legend(figure, rows):
    (legend,) = figure.legends
    shown = {(row.family, CONTEXT_SYMBOLS[row.context]) for row in rows.itertuples()}
    assert {text.get_text() for text in legend.get_texts()} == {", ".join(pair) for pair in shown}
