"""Time of a step of base training with wide matrix products (organism/products.py) and without.

    python benchmarks/base_step.py --batches 64 --rounds 3

Both sides train the mini study's bases on the same batches of their document streams, in one process with one thread, in turn. A
step is counted in CPU seconds; the first pass over the batches, in which kernels are made for each new shape, is shown beside the
others. The speed of the products alone is measured on the shapes of the model's layers.

Writes benchmarks/results/base_step.json and benchmarks/base_step.md.
"""

import argparse
import contextlib
import json
import os
import statistics
import time
from pathlib import Path

import torch
from torch.nn import functional as F

from selfdistill.fast_cpu.products import wide_products
from selfdistill.organism.pretraining import _optimizer, build_model, draw_batches, train_step
from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.study.load import load_study

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results" / "base_step.json"
TABLE = FOLDER / "base_step.md"
SEED = 0
SIDES = {"plain": contextlib.nullcontext, "wide": wide_products}
ROWS = 2048  # tokens of a usual batch


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=64)
    parser.add_argument(
        "--rounds", type=int, default=3, help="passes over the batches, the first one included"
    )
    return parser.parse_args()


def seconds_a_step(model, optimizer, batches) -> float:
    """CPU seconds of a step, the mean of one pass over the batches."""
    begin = time.process_time()
    for ids, mask in batches:
        train_step(model, optimizer, ids, mask)
    return (time.process_time() - begin) / len(batches)


def gigaflops(spec, repeats: int = 50) -> float:
    """Speed of the feed-forward layers' products, in GFLOP/s."""
    inputs, weight = (
        torch.randn(1, ROWS, spec.hidden_size),
        torch.randn(spec.intermediate_size, spec.hidden_size),
    )
    F.linear(inputs, weight)
    begin = time.process_time()
    for _ in range(repeats):
        F.linear(inputs, weight)
    return 2 * ROWS * weight.numel() * repeats / (time.process_time() - begin) / 1e9


def measure(spec, batches: int, rounds: int) -> dict:
    """Seconds of a step by side: of the first pass, and the median of the others."""
    tokenizer, passes, speed = build_tokenizer(spec.template), {side: [] for side in SIDES}, {}
    chunk, drawn = 0, []
    while len(drawn) < batches:
        drawn += draw_batches(spec, tokenizer, SEED, chunk)
        chunk += 1
    models = {side: build_model(spec, tokenizer, SEED) for side in SIDES}
    optimizers = {side: _optimizer(model, spec) for side, model in models.items()}
    for _ in range(rounds):
        for side, surroundings in SIDES.items():
            with surroundings():
                passes[side].append(seconds_a_step(models[side], optimizers[side], drawn[:batches]))
                speed[side] = gigaflops(spec)
    return {
        side: {
            "first": each[0],
            "step": statistics.median(each[1:]),
            "gigaflops": speed[side],
            "passes": each,
        }
        for side, each in passes.items()
    }


def table(result: dict) -> str:
    """The result as Markdown."""
    lines = [
        "# A step of base training: wide matrix products against torch's own",
        "",
        "CPU seconds of a step on one thread; `python benchmarks/base_step.py --help` says how.",
        "",
        "| base | products | first pass, s | step, s | ratio | products alone, GFLOP/s |",
        "|---|---|---|---|---|---|",
    ]
    for base, sides in result["bases"].items():
        for side, values in sides.items():
            ratio = sides["plain"]["step"] / values["step"]
            lines.append(
                f"| {base} | {side} | {values['first']:.3f} | {values['step']:.3f} | {ratio:.2f} | {values['gigaflops']:.0f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all bases of the mini study."""
    options, study = arguments(), load_study("config/mini.yaml")
    if options.rounds < 2:
        raise SystemExit("--rounds: at least 2, for the first pass makes the kernels")
    torch.set_num_threads(1)
    result = {
        "torch": torch.__version__, "load_average": os.getloadavg()[0], "batches": options.batches,
        "bases": {name: measure(study.base(name), options.batches, options.rounds) for name in study.bases()},
    }  # fmt: skip
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    TABLE.write_text(table(result), encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
