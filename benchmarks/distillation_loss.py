"""Peak memory and time of the distillation loss, this project's against TRL's, on the CPU.

    python benchmarks/distillation_loss.py --tokens 512 1024 2048 4096 --limit-gb 14

A measurement is one forward and backward pass from hidden states (tokens x --hidden) of student and teacher to
the gradients of the student's hidden states and head, in a fresh process of its own. `trl` projects all tokens and
calls TRL's loss functions, as its trainer does; `chunked` is `training.chunked`. Both get the same threads and
the same random inputs, which are checked by comparing the losses. Memory is the process's peak resident size above
what it held before the first pass (Linux only), with the head's gradient subtracted, which both must hold; time is the median of
--repeats passes after a first one. Sizes of which TRL's estimated peak is above --limit-gb are not run for TRL.

Writes benchmarks/results/distillation_loss.json (every number) and benchmarks/distillation_loss.md (the table);
a size that is measured again replaces its earlier row.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results" / "distillation_loss.json"
TABLE = FOLDER / "distillation_loss.md"
TRL_ROWS = {"top-k": 6, "full": 20}  # float32 tensors of tokens x vocabulary, to tell what would not fit
KEYS = ("mode", "tokens", "vocabulary", "hidden", "threads")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--mode", choices=list(TRL_ROWS), default="top-k")
    parser.add_argument("--top-k", type=int, default=100)
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit-gb", type=float, default=8.0)
    parser.add_argument("--side", choices=["trl", "chunked"], help=argparse.SUPPRESS)
    return parser.parse_args()


def loss_of(side: str, options: argparse.Namespace, hidden, head, teacher_hidden, teacher_head, ids, old):
    """The mean loss of one side, with graph."""
    import torch
    from trl.experimental.sdpo import loss_utils

    from selfdistill.training.loss.chunked import LossOptions, chunked_distillation
    from selfdistill.training.loss.projection import Head

    top_k = options.top_k if options.mode == "top-k" else None
    if side == "chunked":
        heads, settings = (Head(head), Head(teacher_head)), LossOptions(options.alpha, top_k, True, 2.0)
        total, _ = chunked_distillation(hidden, heads[0], teacher_hidden, heads[1], ids, old, settings)
        return total / len(ids)
    student = hidden @ head.t()
    with torch.no_grad():
        teacher = teacher_hidden @ teacher_head.t()
    if top_k is None:
        losses = loss_utils.compute_full_logit_self_distillation_loss(
            student, teacher, distillation_alpha=options.alpha
        )
    else:
        losses = loss_utils.compute_topk_self_distillation_loss(
            student, teacher, distillation_topk=top_k, distillation_alpha=options.alpha,
            distillation_add_tail=True,
        )  # fmt: skip
    now = loss_utils.selective_log_softmax(student, ids)
    return loss_utils.apply_importance_sampling_clipping(losses, now, old, 2.0).mean()


def resident_bytes(line: str) -> int:
    """This process's resident size from Linux: VmRSS now, or VmHWM at its highest."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{line}:")[1].split()[0]) * 1024


def forget_peak() -> None:
    """Make VmHWM start again from the present size: making the inputs took more than they hold."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def measure(options: argparse.Namespace) -> dict:
    """Time and peak memory of one side at one size; run in a process of its own."""
    import torch
    import trl.experimental.sdpo  # noqa: F401  here, so that its code is not counted

    import selfdistill.training.loss.chunked  # noqa: F401

    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(0)
    (tokens,), width = options.tokens, options.hidden

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    hidden, teacher_hidden = draw(tokens, width).requires_grad_(), draw(tokens, width)
    head = (draw(options.vocabulary, width) * width**-0.5).requires_grad_()
    teacher_head = head.detach() + draw(options.vocabulary, width) * 0.3 * width**-0.5
    ids = torch.randint(options.vocabulary, (tokens,), generator=generator)
    old, seconds = draw(tokens) - 12, []
    data = (hidden, head, teacher_hidden, teacher_head, ids, old)
    forget_peak()
    before, peak = resident_bytes("VmRSS"), 0
    for attempt in range(options.repeats + 1):
        hidden.grad = head.grad = None
        start = time.perf_counter()
        loss = loss_of(options.side, options, *data)
        loss.backward()
        seconds.append(time.perf_counter() - start)
        if attempt == 0:
            peak = resident_bytes("VmHWM") - before
    return {
        "loss": loss.item(), "gradient_norm": head.grad.norm().item(), "peak_bytes": peak,
        "above_head_gradient_bytes": peak - head.numel() * 4, "seconds": statistics.median(seconds[1:]),
        "all_seconds": seconds[1:],
    }  # fmt: skip


def in_own_process(side: str, tokens: int, options: argparse.Namespace) -> dict:
    """`measure` in a fresh interpreter with `threads` threads."""
    command = [sys.executable, __file__, "--side", side, "--tokens", str(tokens), "--mode", options.mode]
    for name in ("vocabulary", "hidden", "top_k", "alpha", "threads", "repeats"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads), "TRL_EXPERIMENTAL_SILENCE": "1"}
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def compare(tokens: int, options: argparse.Namespace) -> dict:
    """Both sides at one size; TRL's is None where it would not fit."""
    import torch
    import trl

    estimate = TRL_ROWS[options.mode] * tokens * options.vocabulary * 4
    fits = estimate <= options.limit_gb * 1e9
    row = {
        "mode": options.mode, "tokens": tokens, "vocabulary": options.vocabulary, "hidden": options.hidden,
        "top_k": options.top_k, "alpha": options.alpha, "threads": options.threads,
        "repeats": options.repeats, "load_average": os.getloadavg()[0], "machine": platform.machine(),
        "torch": torch.__version__, "trl": trl.__version__,
        "chunked": in_own_process("chunked", tokens, options),
        "trl_side": in_own_process("trl", tokens, options) if fits else None,
    }  # fmt: skip
    if fits:
        ours, theirs = row["chunked"], row["trl_side"]
        for name in ("loss", "gradient_norm"):
            if abs(ours[name] - theirs[name]) > 1e-4 * abs(theirs[name]):
                raise RuntimeError(f"the sides disagree in {name}: {ours[name]} and {theirs[name]}")
    return row


def table(rows: list[dict]) -> str:
    """The rows as Markdown."""
    lines = [
        "# Distillation loss: memory and time",
        "",
        "Peak resident memory above the head's own gradient, and time of one forward and backward pass, from hidden",
        "states to gradients; `python benchmarks/distillation_loss.py --help` says how. Times of a machine under",
        "load (load average above the threads) say little.",
        "",
        "| loss | vocabulary | hidden | tokens | TRL, GB | this project, GB | TRL, s | this project, s | time ratio | load |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours, theirs = row["chunked"], row["trl_side"]
        memory, seconds, ratio = "not run", "not run", ""
        if theirs:
            memory = f"{theirs['above_head_gradient_bytes'] / 1e9:.2f}"
            seconds, ratio = f"{theirs['seconds']:.1f}", f"{ours['seconds'] / theirs['seconds']:.2f}"
        lines.append(
            f"| {row['mode']} | {row['vocabulary']:,} | {row['hidden']} | {row['tokens']:,} | {memory} | "
            f"{ours['above_head_gradient_bytes'] / 1e9:.2f} | {seconds} | {ours['seconds']:.1f} | {ratio} | "
            f"{row['load_average']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the sizes asked for and write results and table."""
    options = arguments()
    if options.side:
        print(json.dumps(measure(options)))
        return
    rows = {}
    if RESULTS.exists():
        rows = {tuple(row[k] for k in KEYS): row for row in json.loads(RESULTS.read_text(encoding="utf-8"))}
    for tokens in options.tokens:
        row = compare(tokens, options)
        rows[tuple(row[k] for k in KEYS)] = row
        RESULTS.parent.mkdir(exist_ok=True)
        ordered = [rows[key] for key in sorted(rows, key=str)]
        ordered.sort(key=lambda row: (row["mode"], row["vocabulary"], row["hidden"], row["tokens"]))
        RESULTS.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
        TABLE.write_text(table(ordered), encoding="utf-8")
        print(table([row]).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
