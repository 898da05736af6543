"""How the cost of a training run grows with steps, coverage, model width and response length, and that of a study with its replicates.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --results results/mini    # replicates only: from the manifests of a finished study (`make mini-full`)

Each point is an SDPO or GRPO run in a process of its own with one thread, from a randomly initialised organism whose responses
are forced to the full length (the end of sequence is never drawn), with a random reward: cost does not depend on what the model
knows. Counted are CPU seconds of training (start-up left out), which another process's load hardly changes, and peak resident
memory above that of the same process before training. The exponent is the slope of log cost against log size, by least squares
over all points of a sweep; 1 is linear. Small sizes carry fixed costs, so the slope between the two largest points is given too.

The cost of N replicates is that of all jobs of a finished study but those of the other replicates: no job was run twice for it.

Writes benchmarks/results/scaling.json and benchmarks/scaling.md.
"""

import argparse
import json
import math
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from common import finished_study

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results" / "scaling.json"
TABLE = FOLDER / "scaling.md"
DEFAULT = {"steps": 4, "coverage": 512, "width": 128, "response tokens": 64, "prompts": 6}
SWEEPS = {
    "steps": [4, 8, 16, 32],
    "coverage": [1, 8, 64, 512, 4096],
    "width": [64, 128, 256, 512],
    "response tokens": [32, 64, 128, 256, 512],
}
EXPECTED = {
    "steps": "1",
    "coverage": "0",
    "width": "1 to 2",
    "response tokens": "1 to 2 (attention)",
    "replicates": "1",
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", choices=["grpo", "sdpo"], nargs="+", default=["grpo", "sdpo"])
    parser.add_argument("--sweeps", choices=list(SWEEPS), nargs="+", default=list(SWEEPS))
    parser.add_argument("--results", type=finished_study, help="a finished study with several replicates")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(method: str, size: dict) -> dict:
    """CPU seconds and peak memory of one run; in a process of its own."""
    import torch

    from selfdistill.organism.chains import make_problem_set
    from selfdistill.organism.pretraining import build_model
    from selfdistill.organism.tokenizer import build_tokenizer
    from selfdistill.problems.problem import write_problems
    from selfdistill.study.methods import METHODS
    from selfdistill.training import grpo, sdpo
    from selfdistill.training.arguments import grpo_arguments, sdpo_arguments
    from selfdistill.training.job import TrainingJob
    from selfdistill.training.on_policy import build_trainer
    from selfdistill.vocabulary.runs import Run

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder, width = Path(name), size["width"]
        tokenizer = build_tokenizer("qwen3")
        spec = SimpleNamespace(
            architecture="qwen3", hidden_size=width, layers=3, heads=4, intermediate_size=width * 5 // 2
        )
        model = build_model(spec, tokenizer, 0)
        model.config.max_position_embeddings = 2048
        model.save_pretrained(folder / "base")
        tokenizer.save_pretrained(folder / "base")
        write_problems(
            folder / "problems.parquet",
            make_problem_set({"d2": 0.3, "d3": 0.7}, size["coverage"], 0, "train", "chain"),
        )
        settings = METHODS[method].settings(
            steps=size["steps"], prompts=size["prompts"], rollouts=8, updates_per_step=2, max_prompt_tokens=160,
            max_new_tokens=size["response tokens"], temperature=1.0, checkpoint_every=size["steps"],
            learning_rate=1e-5, **({"alpha": 0.5, "top_k": 20, "tail": True} if method == "sdpo" else {}),
        )  # fmt: skip
        fields = ("solution", "fixed") if method == "sdpo" else ("none", "none")
        job = TrainingJob(
            run=Run("scaling", method, *fields, "chain", "full", "default", 0, 0), base=folder / "base",
            data=folder / "problems.parquet", output=folder / "output", resume=folder / "resume", settings=settings,
            template="qwen3", thinking="on",
        )  # fmt: skip
        reward = coins(torch.Generator().manual_seed(0))
        if method == "sdpo":
            parts = (sdpo.SelfDistillationTrainer, sdpo_arguments(settings, "fixed", "on", job.resume, 0))
            trainer = build_trainer(parts[0], job, parts[1], reward, **sdpo.teacher_options(job))
        else:
            parts = (grpo.GroupRelativeTrainer, grpo_arguments(settings, "on", job.resume, 0))
            trainer = build_trainer(parts[0], job, parts[1], reward)
        trainer.eos_token_ids = []
        before, start = peak_mb(), time.process_time()
        trainer.train()
        return {"cpu": time.process_time() - start, "memory_mb": peak_mb() - before, "before_mb": before}


def coins(generator):
    """A reward that half of the responses get, by chance."""
    import torch

    from selfdistill.grading.answers import Grade

    def reward(responses, answers) -> list[Grade]:
        right = torch.randint(2, (len(responses),), generator=generator).tolist()
        return [Grade("answer", bool(one), "correct" if one else "wrong") for one in right]

    return reward


def peak_mb() -> float:
    """Peak resident memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_own_process(method: str, size: dict) -> dict:
    """`measure` in a fresh interpreter with one thread."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, __file__, "--methods", method, "--point", json.dumps(size)]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def replicates_of(results: Path) -> dict:
    """The row of the replicates: CPU seconds and largest job of a study with its first one, two, ... replicates."""
    manifests = [json.loads(path.read_text(encoding="utf-8")) for path in results.rglob("*manifest.json")]
    found = [
        (
            int(match[1]) if (match := re.search(r"/replicate-(\d+)[/.]", manifest["outputs"][0])) else None,
            manifest,
        )
        for manifest in manifests
    ]
    replicates = sorted({replicate for replicate, _ in found} - {None})
    if len(replicates) < 2:
        raise SystemExit(f"{results}: only the replicates {replicates}; at least two are needed")
    points = []
    for replicate in replicates:
        counted = [m for own, m in found if (own is None or own <= replicate) and "times" in m]
        points.append(
            {
                "cpu": sum(m["times"]["cpu_seconds"] for m in counted),
                "memory_mb": max(m["peak_memory_mb"] for m in counted),
                "before_mb": 0,
            }
        )
    values = list(range(1, len(replicates) + 1))
    return {"method": f"study {results.name}", "sweep": "replicates", "values": values, "points": points}


def slope(points: list[tuple[float, float]]) -> float:
    """Least-squares slope of log cost against log size."""
    xs, ys = ([math.log(point[i]) for point in points] for i in (0, 1))
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / sum(
        (x - mean_x) ** 2 for x in xs
    )


def table(rows: list[dict]) -> str:
    """The rows as Markdown."""
    base = ", ".join(f"{value} {name}" for name, value in DEFAULT.items())
    lines = [
        "# How cost grows",
        "",
        f"CPU seconds and peak memory of a training run of the mini organism ({base}, 8 rollouts per prompt) when one size changes;",
        "`python benchmarks/scaling.py --help` says how.",
        "",
        "| method | size | values | CPU seconds | exponent | of the two largest | expected | peak MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        points = [(value, point["cpu"]) for value, point in zip(row["values"], row["points"], strict=True)]
        lines.append(
            f"| {row['method']} | {row['sweep']} | {', '.join(map(str, row['values']))} | "
            f"{', '.join(format(y, '.1f') for _, y in points)} | {slope(points):.2f} | {slope(points[-2:]):.2f} | "
            f"{EXPECTED[row['sweep']]} | {', '.join(format(p['before_mb'] + p['memory_mb'], '.0f') for p in row['points'])} |"
        )
    lines += [
        "",
        "A replicate draws everything but the benchmarks anew, so their number multiplies all jobs but benchmarks, estimates, ledger, tables,",
        "figures and report.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the sweeps and write results and table."""
    options = arguments()
    if options.point:
        print(json.dumps(measure(options.methods[0], json.loads(options.point))))
        return
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    for row in measured(options):
        key = (row["method"], row["sweep"])
        rows = [old for old in rows if (old["method"], old["sweep"]) != key] + [row]
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        TABLE.write_text(table(rows), encoding="utf-8")
        print(table([row]).splitlines()[7], flush=True)


def measured(options: argparse.Namespace) -> Iterator[dict]:
    """The rows that the command line asks for, one after the other."""
    if options.results:
        yield replicates_of(options.results)
        return
    for method in options.methods:
        for sweep in options.sweeps:
            points = [in_own_process(method, DEFAULT | {sweep: value}) for value in SWEEPS[sweep]]
            yield {"method": method, "sweep": sweep, "values": SWEEPS[sweep], "points": points}


if __name__ == "__main__":
    main()
