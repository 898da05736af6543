"""What the workflow costs beside its computations: dry runs, Snakemake's share of a job, imports of every script.

    python benchmarks/dag.py                    # everything, about two minutes on an idle machine
    python benchmarks/dag.py --repeats 5 --seeds 28

Dry runs happen in an empty folder, so that every job is planned: mini, paper, and a grid of more than 2,000 jobs (mini with
--seeds seeds, in a study file written there). Small jobs: the problem sets of mini are really made, with one core. Scripts: each
script of workflow/scripts is run in a fresh process up to the end of its imports, as it is (`lean`) and with the garbage collector
at work (`plain`), in turn. Processor seconds (user + system, of the process and its children) say more than wall seconds where
other programs run; both are medians of --repeats.

Writes benchmarks/results/dag.json (every number) and benchmarks/dag.md (the tables).
"""

import argparse
import gc
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
RESULTS, TABLE = FOLDER / "results" / "dag.json", FOLDER / "dag.md"
SCRIPTS = ROOT / "workflow" / "scripts"
HEAVY = (
    "torch", "transformers", "trl", "vllm", "accelerate", "datasets", "matplotlib", "seaborn", "scipy",
    "statsmodels", "pandas",
)  # fmt: skip
LIMITS = {"mini": 5.0, "paper": 5.0, "grid": 10.0}
"""Most seconds that a dry run should take on an idle machine."""


JOBS = {
    "build_problems": {"spec": {"source": "organism"}},
    "evaluate": {"backend": "transformers"},
    "evaluate_intervention": {"backend": "transformers"},
    "plot_figure": {"draw": "selfdistill.report.figures.curves:draw"},
    "sample_section_3": {"backend": "transformers"},
    "train_off_policy": {"run": {"method": "sft"}},
    "train_on_policy": {"run": {"method": "sdpo"}},
}
"""Script -> what of its job's params decides what is imported."""


def run_head(script: str, plain: bool) -> None:
    """Import what a script's job needs and print which of HEAVY that loads; `plain`: with the garbage collector at work."""
    from selfdistill.jobs.run_job import load

    if plain:
        gc.disable = gc.freeze = lambda: None
    text = (SCRIPTS / f"{script}.py").read_text(encoding="utf-8")
    load(re.search(r'"(selfdistill\..+:.+)"', text).group(1), {"job": JOBS.get(script, {})})
    print(json.dumps([name for name in HEAVY if name in sys.modules]), flush=True)


def measured(command: list[str], cwd: Path | None = None) -> tuple[dict[str, float], str]:
    """Wall and processor seconds of a command with all its children, and its standard output; raises if it fails."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(seconds, 3), "cpu_seconds": round(spent, 3)}, done.stdout


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    """The median of each number."""
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def snakemake(*arguments: str) -> list[str]:
    """The command line of Snakemake on this workflow."""
    return [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *arguments]


def write_grid(folder: Path, seeds: int) -> Path:
    """A copy of mini with many seeds, with the files that it refers to beside it."""
    for path in (ROOT / "config").glob("*.yaml"):
        shutil.copy(path, folder)
    text = (ROOT / "config" / "mini.yaml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^study: mini$", "study: grid", text)
    text = re.sub(r"(?m)^seeds: .*$", f"seeds: {list(range(seeds))}", text)
    path = folder / "grid.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def dry_runs(folder: Path, repeats: int, seeds: int) -> dict[str, dict[str, float]]:
    """Jobs and seconds of a dry run of mini, paper and the grid."""
    rows = {}
    for name, study in (("mini", "mini"), ("paper", "paper"), ("grid", str(write_grid(folder, seeds)))):
        command = snakemake("-n", "--directory", str(folder), "--config", f"study={study}")
        runs = [measured(command) for _ in range(repeats)]
        jobs = int(re.findall(r"(?m)^total\s+(\d+)$", runs[0][1])[0])
        rows[name] = {"jobs": jobs, **medians([row for row, _ in runs]), "limit": LIMITS[name]}
    return rows


def small_jobs(folder: Path) -> dict[str, float]:
    """Seconds that one small job takes in all: the problem sets of mini, without Snakemake's own start and end."""
    from selfdistill.records.paths import Paths  # at the top it would be an import of every script

    paths = Paths("mini")
    targets = [paths.training_problems("chain", 0, size) for size in ("full", "1", "8", "64", "512")]
    targets.append(paths.training_problems("narrow", 0, "full"))
    targets += [paths.benchmark(name) for name in ("in-domain", "shorter", "longer", "paired")]
    command = snakemake("--directory", str(folder), "--cores", "1", *targets)
    done, _ = measured(command)
    again, _ = measured(command)
    return {"jobs": len(targets)} | {name: (done[name] - again[name]) / len(targets) for name in done}


def heads(scripts: list[str], repeats: int) -> dict[str, dict[str, Any]]:
    """What each script's imports cost in a fresh process, from its start to its end, and which heavy packages they load."""
    rows = {}
    for script in scripts:
        command = [sys.executable, __file__, "--head", script]
        pairs = [(measured(command), measured([*command, "--plain"])) for _ in range(repeats)]
        rows[script] = {
            "lean": medians([lean for (lean, _), _ in pairs]),
            "plain": medians([plain for _, (plain, _) in pairs]),
            "modules": json.loads(pairs[0][0][1].splitlines()[-1]),
        }
    return rows


def tables(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    small = record["small_jobs"]
    lines = [
        "# The workflow beside its computations",
        "",
        "Wall and processor seconds, medians; `python benchmarks/dag.py --help` says how. Wall times of a machine under load (load",
        f"average above its cores) say little: here {record['load_average']:.1f} on {record['cores']} cores.",
        "",
        "| dry run | jobs | wall, s | processor, s | at most, s |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['jobs']:,} | {row['seconds']:.1f} | {row['cpu_seconds']:.1f} | {row['limit']:.0f} |"
        for name, row in record["dry_runs"].items()
    ]
    lines += [
        "",
        f"A small job (the mean of {small['jobs']} problem sets, one core) takes {small['seconds']:.2f} s of wall time and "
        f"{small['cpu_seconds']:.2f} s of",
        "processor time in all: Snakemake, interpreter, imports, the little work, manifest, exit.",
        "",
        "Imports of each script, from the start of its process to its end; `plain` leaves Python's garbage collector at work.",
        "",
        "| script | wall, s | processor, s | plain, wall | plain, processor | processor, ratio | heavy packages |",
        "|---|---|---|---|---|---|---|",
    ]
    for script, row in record["scripts"].items():
        lean, plain = row["lean"], row["plain"]
        lines.append(
            f"| {script} | {lean['seconds']:.2f} | {lean['cpu_seconds']:.2f} | {plain['seconds']:.2f} | "
            f"{plain['cpu_seconds']:.2f} | {lean['cpu_seconds'] / plain['cpu_seconds']:.2f} | "
            f"{', '.join(row['modules']) or '–'} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write results and tables; or run one script's head."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--seeds", type=int, default=28, help="seeds of the grid; 28 make more than 2,000 jobs"
    )
    parser.add_argument("--head", help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.head:
        run_head(options.head, options.plain)
        return
    scripts = sorted(path.stem for path in SCRIPTS.glob("*.py") if path.stem != "fetch_base")
    with tempfile.TemporaryDirectory() as name:
        record = {
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "repeats": options.repeats,
            "dry_runs": dry_runs(Path(name), options.repeats, options.seeds),
            "small_jobs": small_jobs(Path(name)),
            "scripts": heads(scripts, options.repeats),
            "load_average": os.getloadavg()[1],
        }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    TABLE.write_text(tables(record), encoding="utf-8")
    print(TABLE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
