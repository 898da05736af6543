"""The whole study, really run on models that learn nothing (config/test.yaml): every rule, every output."""

import json
import shutil
import subprocess
import sys

import pandas
import pytest

from selfdistill.commands.diagnose import finished_runs
from selfdistill.commands.status import expected_jobs
from selfdistill.problems.problem import read_problems
from selfdistill.records.files import read_table
from selfdistill.records.paths import Paths
from selfdistill.records.schemas import (
    OUTCOMES,
    off_policy_schema,
    richness_schema,
    rollouts_schema,
    samples_schema,
    training_schema,
)
from selfdistill.study.jobs import last_sample_files, sample_files
from selfdistill.study.load import load_study
from selfdistill.study.methods import ON_POLICY
from selfdistill.study.shown import intervened
from selfdistill.vocabulary.diagnosis import FEATURES
from selfdistill.vocabulary.runs import base_run

from .conftest import Workspace

PATHS = Paths("test")


def declared(finished):
    """The study that was run."""
    return load_study(finished.root / "config/test.yaml")


def test_every_job_ends_with_a_manifest_that_tells_how_it_was_made(finished):
    jobs = list(expected_jobs(declared(finished)))
    for job in jobs:
        manifest = json.loads((finished.root / job.manifest).read_text())
        assert manifest["peak_memory_mb"] < 3000
        assert manifest["packages"]["torch"]
        assert len(manifest["config_sha256"]) == 64
        times = manifest["times"]
        assert times["process_began"] < times["main_began"] < times["ended"]
        assert times["cpu_seconds"] > 0
    left = (finished.root / PATHS.results / "resume").rglob("*")
    assert not [path for path in left if path.is_file()]


def test_the_first_lines_say_how_to_see_the_progress(finished):
    output = (finished.root / "first-call.log").read_text()
    assert "Progress, in a second terminal: make status STUDY=test REPLICATES=0" in output


def test_a_second_call_has_nothing_to_do(finished):
    assert finished.planned("--config", "study=test") == {}


def test_every_run_has_records_rollouts_and_checkpoints(finished):
    study = declared(finished)
    for run in study.runs():
        settings = study.settings_for(run)
        training = read_table(finished.root / PATHS.training(run), training_schema())
        assert set(training["model"]) == {run.model}
        assert list(training["step"]) == list(range(len(training)))
        steps = {
            int(p.name.removeprefix("step-")) for p in (finished.root / PATHS.checkpoints(run)).glob("step-*")
        }
        assert max(steps) == len(training)
        if run.method in ON_POLICY:
            assert len(training) == settings.steps
            assert steps == {1, 2}
            rollouts = read_table(finished.root / PATHS.rollouts(run), rollouts_schema())
            assert len(rollouts) == settings.steps * settings.prompts * settings.rollouts
            assert rollouts["score"].groupby(rollouts["step"]).mean().tolist() == training["score"].tolist()


def test_samples_hold_every_checkpoint_benchmark_problem_and_sample(finished):
    study = declared(finished)
    benchmarks = study.file.benchmarks
    for run in study.base_runs() + study.runs():
        files = sample_files(study, PATHS, [run])
        samples = pandas.concat([read_table(finished.root / file, samples_schema()) for file in files])
        keys = ["step", "benchmark", "problem_id", "sample_index"]
        assert not samples.duplicated(keys).any()
        steps = samples["step"].nunique()
        assert len(samples) == steps * len(benchmarks.names) * benchmarks.problems * benchmarks.samples
        assert set(samples["outcome"]) <= set(OUTCOMES)
        assert (samples["correct"] == (samples["outcome"] == "correct")).all()
        assert (samples["thinking_tokens"] <= samples["response_tokens"]).all()
        for name, value in run.fields().items():
            assert set(samples[name]) == {value}


def test_interventions_answer_what_the_last_step_answers_and_leave_no_banned_word(finished):
    study = declared(finished)
    asked = intervened(study)
    assert len(asked) == 8, "a base has no force"
    for run, name in asked:
        rows = read_table(finished.root / PATHS.intervention(run, name), samples_schema())
        (last,) = last_sample_files(study, PATHS, [run])
        keys = ["step", "benchmark", "problem_id", "sample_index", "prompt_hash"]
        assert rows[keys].equals(read_table(finished.root / last, samples_schema())[keys])
        assert rows["epistemic_word"].any() == (name == "force")


def test_no_benchmark_problem_is_trained_on(finished):
    study = declared(finished)
    trained = {
        problem.question
        for dataset in study.file.datasets
        for problem in read_problems(finished.root / PATHS.training_problems(dataset, 0, "full"))
    }
    for name in study.file.benchmarks.names:
        held_out = {problem.question for problem in read_problems(finished.root / PATHS.benchmark(name))}
        assert held_out
        assert not held_out & trained


def test_section_3_has_the_same_problems_under_four_contexts(finished):
    samples = read_table(finished.root / PATHS.section_3("r1-test", 0), samples_schema())
    problems = samples.groupby("context")["problem_id"].agg(set)
    assert set(problems.index) == {"unguided", "answer-only", "regeneration", "solution"}
    assert all(found == problems["unguided"] for found in problems)
    assert len(problems["unguided"]) == declared(finished).file.section_3.problems


def test_sets_that_are_matched_in_tokens_are_the_shortest_and_parts_of_the_others(finished):
    place, contexts = ("r1-test", "chain", 0), declared(finished).off_policy_contexts()
    paths = [
        make(*place, context) for make in (PATHS.off_policy, PATHS.off_policy_matched) for context in contexts
    ]
    read = [read_table(finished.root / path, off_policy_schema()) for path in paths]
    whole, cut = read[: len(contexts)], read[len(contexts) :]
    least = min(frame["response_tokens"].sum() for frame in whole)
    assert max(frame["response_tokens"].sum() for frame in cut) == least
    for own, full in zip(cut, whole, strict=True):
        assert len(own.merge(full)) >= len(own) > 0


def test_richness_is_that_of_every_correct_response_of_section_3(finished):
    samples = read_table(finished.root / PATHS.section_3("r1-test", 0), samples_schema())
    correct = samples[samples["correct"]]
    rows = read_table(finished.root / PATHS.richness("r1-test", 0), richness_schema())
    own = rows[rows["written"] == rows["context"]]
    key = ["context", "problem_id", "sample_index"]
    tokens = own.groupby(key)["tokens"].sum()
    sampled = correct.set_index(key)["response_tokens"].sort_index()
    assert tokens.index.equals(sampled.index)
    assert (tokens <= sampled).all(), "special tokens are not part of the text"
    assert (own.loc[own["context"] == "unguided", "nats"] == 0).all()
    assert (own.loc[own["context"] != "unguided", "nats"] != 0).any()


def test_the_diagnosis_has_a_row_per_run_with_a_teacher_and_the_command_reads_it(finished):
    study = declared(finished)
    runs = finished_runs(str(finished.root / PATHS.results)).set_index(
        ["model", "teacher", "dataset", "coverage"]
    )
    assert len(runs) == sum(run.method == "sdpo" for run in study.runs()) == 6
    shared = [name for name in FEATURES if name in runs]
    fixed, moving = (
        runs.loc[("r1-test", teacher, "chain", "full"), shared] for teacher in ("fixed", "ema-0.05")
    )
    assert len(shared) == len(FEATURES) and fixed.equals(moving)
    for run in study.runs(methods=("sdpo",)):
        own, base = (
            read_table(finished.root / last_sample_files(study, PATHS, [one])[0], samples_schema())
            for one in (run, base_run(run.model, run.replicate, run.seed))
        )
        change = own.query("benchmark == 'shorter'")["correct"].mean()
        change -= base.query("benchmark == 'shorter'")["correct"].mean()
        row = runs.loc[(run.model, run.teacher, run.dataset, run.coverage)]
        assert row["change"] == pytest.approx(change)
    table = (finished.root / PATHS.table("diagnosis", "md")).read_text()
    assert table.count("too few groups") >= 2, "two families, two bases"


def test_figures_tables_and_report_are_there(finished):
    study = declared(finished)
    for name in study.file.figures:
        assert (finished.root / PATHS.figure(name, "png")).read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (finished.root / PATHS.figure(name, "svg")).read_text()
        assert len((finished.root / PATHS.figure(name, "txt")).read_text()) > 20
    for name in study.file.tables:
        for suffix in ("csv", "md", "html"):
            assert (finished.root / PATHS.table(name, suffix)).stat().st_size > 0
    report = (finished.root / PATHS.report).read_text()
    for name in (*study.file.figures, *study.file.tables):
        assert f'id="{name}"' in report, name
    assert 'id="overview"' in report
    assert report.count("data:image/png;base64,") == len(study.file.figures) + 2, (
        "the overview: wide and narrow"
    )
    assert 'src="http' not in report


def test_table1_and_the_run_browser_hold_numbers_of_this_study(finished):
    table = pandas.read_csv(finished.root / PATHS.table("table1", "csv"))
    own = table[~table["reported"]]
    assert set(own["column"]) == {"Score", "Length", "Epistemic", "Repeated"}
    assert own["Context"].nunique() == 4
    browser = (
        (finished.root / PATHS.report).read_text().partition('id="run-browser"')[2].partition("</table>")[0]
    )
    runs = len(declared(finished).base_runs() + declared(finished).runs())
    assert browser.count("<tr>") == runs + 1
    assert browser.count('class="interval"') >= 4 * runs


def test_snakemake_makes_its_own_report_without_a_network(finished, tmp_path):
    study, page = declared(finished), tmp_path / "report.html"
    blocked = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
    output = finished.snakemake("--report", str(page), "--config", "study=test", environment=blocked)
    assert "Missing metadata" not in output
    text = page.read_text(encoding="utf-8")
    for name in study.file.figures:
        caption = (finished.root / PATHS.figure(name, "txt")).read_text().split(".")[0]
        assert f"{name}.png" in text and json.dumps(caption)[1:-1] in text, name
    for name in (*(f"{table}.html" for table in study.file.tables), "report.html"):
        assert f'"name": "{name}"' in text, name


def test_logs_begin_with_commit_config_and_versions(finished):
    logs = list((finished.root / PATHS.logs / "train_on_policy").rglob("*.log"))
    assert logs
    for log in logs:
        first, second = log.read_text().splitlines()[:2]
        assert "train_on_policy, commit" in first
        assert "torch" in second


def test_samples_are_graded_again_by_the_rule_and_by_the_command(finished, tmp_path):
    study = Workspace(shutil.copytree(finished.root, tmp_path / "study", symlinks=True))
    study.snakemake("regrade", "--config", "study=test", "grader=strict")
    page, numbers = (study.root / PATHS.regraded("strict", suffix) for suffix in ("md", "csv"))
    assert "0 become right and 0 become wrong" in page.read_text(encoding="utf-8")
    before = pandas.read_csv(numbers)
    assert (before["changed"] == 0).all() and (before["accuracy"] == before["new_accuracy"]).all()

    run = declared(finished).runs()[0]
    step = declared(finished).steps_of(run)[-1]
    path = study.root / PATHS.samples(run, step)
    samples = pandas.read_parquet(path)
    answers = {
        problem.problem_id: problem.answers[0]
        for name in samples["benchmark"].unique()
        for problem in read_problems(study.root / PATHS.benchmark(name))
    }
    boxed = [f"\\boxed{{{answers[name]}}}" for name in samples["problem_id"]]
    samples.assign(response=boxed, correct=False).to_parquet(path)
    command = [sys.executable, "-m", "selfdistill.commands.regrade", "--study", "test", "--grader", "strict"]
    subprocess.run(command, cwd=study.root, check=True, capture_output=True)
    fields = ["model", "method", "context", "teacher", "dataset", "coverage", "variant", "benchmark"]
    after = pandas.read_csv(numbers, keep_default_na=False)
    moved = after[after["changed"] > 0]
    assert set(moved["benchmark"]) == set(samples["benchmark"])
    assert len(moved) == len(moved[fields].drop_duplicates()) == samples["benchmark"].nunique()
    assert (moved["accuracy"] == 0).all() and (moved["new_accuracy"] == 1).all()
