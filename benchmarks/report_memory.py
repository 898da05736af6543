"""Memory of the jobs that need no model, on made-up samples of the paper's study: numbers, ledger, report.

    python benchmarks/report_memory.py                                                    # 2 GB of responses of one model
    python benchmarks/report_memory.py --model qwen3-8b-nothink --rows 150 --text 50      # the rows of the largest model

Samples are those of every run of a model of config/paper.yaml at all its steps, written as the study writes them, with random
words for responses. Each job runs in a process of its own; what is printed is by how much it grows at most, in MB. A paper's
file holds 4 GB of responses; the growth must depend on the number of responses only, not on their length.
"""

import argparse
import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet
from peak import peak_growth

from selfdistill.claims.ledger import load_ledger
from selfdistill.claims.selection import PlannedPart, needed_files, plan_claims
from selfdistill.problems.problem import Problem, write_problems
from selfdistill.records.paths import Paths
from selfdistill.records.schemas import rollouts_schema, samples_schema
from selfdistill.records.task import Task
from selfdistill.study import jobs, shown
from selfdistill.study.load import load_study
from selfdistill.study.study import Study
from selfdistill.vocabulary.runs import LAST

CONFIG = Path(__file__).resolve().parents[1] / "config"
LEDGER = str(CONFIG / "claims.yaml")
ELSEWHERE = str(CONFIG / "elsewhere.yaml")
PATHS = Paths("paper")
JOBS = ("estimate", "judge", "make_report")
WORDS = [f"{a}{b}" for a in ("wait", "so", "then", "maybe", "we", "try") for b in ("", *range(200))]


def paper() -> Study:
    """Return the study."""
    return load_study(CONFIG / "paper.yaml")


def texts(count: int, size: int) -> pa.Array:
    """Return `count` responses of `size` characters, each another: pandas keeps equal texts once."""
    pool = [" ".join(random.choices(WORDS, k=size // 5))[:size] for _ in range(8)]
    return pa.array([f"{i} {random.choice(pool)}"[:size] for i in range(count)])


def values_of(field: pa.Field, count: int) -> pa.Array:
    """Return any values of a column."""
    if field.type == pa.string():
        return pa.array(random.choices("123456789", k=count))
    return pa.array(random.choices((0, 1, 1, 2, 5), k=count)).cast(field.type)


def write(path: str, schema: pa.Schema, rows: int, columns: dict[str, pa.Array]) -> None:
    """Write a record as one row group, some of its columns given, with texts that take their full size."""
    table = pa.table([columns.get(f.name) or values_of(f, rows) for f in schema], schema=schema)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pa.parquet.write_table(
        table, path, row_group_size=rows, use_dictionary=False, compression="none", write_page_checksum=True
    )


def write_samples(path: str, fields: dict, step: int, benchmarks: list[str], problems: int, size: int) -> int:
    """Write the samples of a checkpoint, 16 responses per problem; return the bytes of the responses."""
    keys = [(step, b, f"{b}-{p}", i) for b in benchmarks for p in range(problems) for i in range(16)]
    names = ("step", "benchmark", "problem_id", "sample_index")
    columns = dict(zip(names, map(pa.array, zip(*keys, strict=True)), strict=True))
    columns |= {name: pa.array([value] * len(keys)) for name, value in fields.items()}
    write(path, samples_schema(), len(keys), columns | {"response": texts(len(keys), size)})
    return len(keys) * size


def write_rollouts(path: str, steps: int, rows: int, size: int) -> None:
    """Write the rollouts of a run."""
    keys = [(step, f"p{i // 8}") for step in range(steps) for i in range(rows)]
    columns = dict(zip(("step", "problem_id"), map(pa.array, zip(*keys, strict=True)), strict=True))
    write(path, rollouts_schema(), len(keys), columns | {"response": texts(len(keys), size)})


def write_study(model: str, problems: int, size: int) -> int:
    """Write all samples of a model below the current folder, the rollouts and problems too; return the bytes of the responses of samples."""
    study, total = paper(), 0
    for run in study.runs_of_model(model):
        for step in study.steps_of(run):
            number = 3000 if step == LAST else step
            names = study.benchmarks_at(run, step)
            total += write_samples(PATHS.samples(run, step), run.fields(), number, names, problems, size)
    for path in needed_files(claims_of(study, model), study, PATHS)["rollouts"]:
        write_rollouts(path, 20, problems * 16, size)
    benchmark = study.shift_benchmark()
    made = [Problem(f"{benchmark}-{i}", benchmark, "", f"question {i}", ("1",)) for i in range(problems)]
    write_problems(PATHS.benchmark(benchmark), made)
    return total


def claims_of(study: Study, model: str) -> list[PlannedPart]:
    """Return the parts of the claims that need the samples of one model only, and those on rollouts."""
    own = [run.key() for run in study.runs_of_model(model)]
    parts = [part for part in plan_claims(load_ledger(LEDGER), study) if part.arms]
    return [
        part
        for part in parts
        if all(arm.benchmarks == ("training",) or arm.run in own for arm in part.arms)
        and part.benchmark != "section-3"
    ]


def task(params: dict, inputs: dict, outputs: dict) -> Task:
    """Return a job."""
    return Task({"job": params}, SimpleNamespace(**inputs), SimpleNamespace(**outputs), Path())


def estimate(model: str) -> None:
    """Run the job of the numbers of a model."""
    from selfdistill.report.numbers import estimate as job

    study = paper()
    runs = study.runs_of_model(model)
    inputs = {"samples": jobs.sample_files(study, PATHS, runs), "section_3": []}
    inputs["last"] = jobs.last_sample_files(study, PATHS, runs)
    outputs = {name: PATHS.numbers(name, model) for name in ("estimates", "differences", "shift", "draws")}
    job(task(jobs.numbers_params(study, model).model_dump(), inputs, outputs))


def judge(model: str) -> None:
    """Run the job of the ledger."""
    from selfdistill.report.claims_page import judge as job

    study = paper()
    parts = claims_of(study, model)
    outputs = {name: PATHS.claims(name) for name in ("json", "md", "html")}
    files = needed_files(parts, study, PATHS)
    job(
        task(
            {"study": "paper", "parts": [asdict(part) for part in parts]},
            files | {"ledger": LEDGER, "elsewhere": ELSEWHERE},
            outputs,
        )
    )


def make_report(model: str) -> None:
    """Run the job of the report, after the other two."""
    from selfdistill.report.run import make_report as job

    study = paper()
    runs = [*study.base_runs(model), *(run for run in shown.main_runs(study) if run.model == model)]
    params = shown.report_job(study).model_dump() | {"examples": shown.run_keys(runs)}
    inputs = {name: [] for name in ("figures", "captions", "tables", "manifests")}
    inputs |= {name: PATHS.numbers(name, model) for name in ("estimates", "differences")}
    inputs |= {"ledger": PATHS.claims("json"), "claims": PATHS.claims("html")}
    inputs |= {"overview": [PATHS.overview(suffix) for suffix in ("png", "narrow.png", "txt")]}
    for path in map(Path, inputs["overview"]):  # the picture is small: empty files stand for it
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    inputs |= {"samples": jobs.last_sample_files(study, PATHS, runs)}
    inputs |= {
        "questions": PATHS.benchmark(study.shift_benchmark()),
        "reported": str(CONFIG / "reported.yaml"),
    }
    inputs |= {"deviations": str(CONFIG.parent / "docs" / "deviations.md")}
    job(task(params, inputs, {"report": PATHS.report}))


def growths(model: str, problems: int, size: int, folder: str | None = None) -> Iterator[tuple[str, float]]:
    """Yield job -> by how many MB it grows at most, on samples written to a temporary folder."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        before = Path.cwd()
        os.chdir(place)
        try:
            total = write_study(model, problems, size)
            yield "MB of responses", total / 1e6
            for job in JOBS:
                yield job, peak_growth(f"report_memory:{job}", model)
        finally:
            os.chdir(before)


def main() -> None:
    """Print the growth of each job."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="qwen3-8b-think", help="model of config/paper.yaml")
    parser.add_argument(
        "--rows",
        type=int,
        default=30,
        help="problems of each of the four benchmarks (the study: 150 on average)",
    )
    parser.add_argument("--text", type=int, default=35_000, help="characters of a response")
    options = parser.parse_args()
    for name, megabytes in growths(options.model, options.rows, options.text, "."):
        print(f"{name:16} {megabytes:8,.0f}", flush=True)


if __name__ == "__main__":
    main()
