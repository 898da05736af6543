"""Time of an on-policy training step, this project's trainers against plain TRL's, on the mini study's own models.

    make mini                                   # once: the benchmark takes its base model and problems
    python benchmarks/training_step.py --methods grpo sdpo --steps 10 --rounds 3

Both sides train the same base on the same problems with the same TRL arguments: prompts, rollouts, lengths, seeds,
learning rates, optimizer, transformers for generation, no bf16 and no gradient checkpointing. `trl` is GRPOTrainer or
SDPOTrainer as TRL ships it, with whole mini-batches (its natural layout); `trl, micro-batches` is the same with this
project's micro-batches. Every measurement is a process of its own with one thread; sides take turns, --rounds times. A
step is counted in CPU seconds of its process, which another process's load hardly changes, and in wall seconds; the first
two steps do not count, and the figures are medians over steps and rounds. The tokens of the rollouts are reported, for a
side that wrote shorter ones would be faster for that alone.

`--profile` instead prints where the CPU time of this project's step goes, and how near its matrix products come to torch.mm on
the same shapes; the numbers are kept in benchmarks/results/training_step_profile.json.

Writes benchmarks/results/training_step.json and benchmarks/training_step.md.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import add_results, base_in, paths_in

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results" / "training_step.json"
PROFILE = FOLDER / "results" / "training_step_profile.json"
TABLE = FOLDER / "training_step.md"
SIDES = ("this project", "trl", "trl, micro-batches")
WARM_UP = 2


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", choices=["grpo", "sdpo"], nargs="+", default=["grpo", "sdpo"])
    parser.add_argument("--model", default="r1-mini", help="a model of the mini study")
    add_results(parser)
    parser.add_argument("--steps", type=int, default=10, help="steps per process, warm-up included")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--note", default="", help="a word for the table, such as `before`")
    parser.add_argument("--profile", nargs="?", const="phases", choices=["phases", "products"])
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def training_job(options: argparse.Namespace, method: str, folder: Path):
    """The mini study's run of a method on the broad domain, cut to --steps."""
    from selfdistill.study.jobs import training_params
    from selfdistill.study.load import load_study
    from selfdistill.training.job import TrainingJob

    study = load_study("config/mini.yaml")
    context, teacher = ("solution", "fixed") if method == "sdpo" else ("none", "none")
    run = study.run(
        model=options.model, method=method, context=context, teacher=teacher, dataset="chain", coverage="full",
        variant="default", replicate=study.file.replicates[0], seed=0,
    )  # fmt: skip
    params = training_params(study, run)
    return TrainingJob(
        run=run,
        base=base_in(options.results, study, study.model(options.model).base),
        data=Path(paths_in(options.results).training_problems("chain", run.replicate, "full")),
        output=folder / "output",
        resume=folder / "resume",
        settings=params.settings.model_copy(
            update={"steps": options.steps, "checkpoint_every": options.steps + 1}
        ),
        template=params.template,
        thinking=params.thinking,
    )


def build(side: str, method: str, job, reward):
    """The trainer of one side."""
    from selfdistill.training.arguments import grpo_arguments, sdpo_arguments

    if side == "trl":  # whole mini-batches
        job = job.model_copy(update={"settings": job.settings.model_copy(update={"micro_batch": None})})
    if method == "sdpo":
        settings = sdpo_arguments(job.settings, job.run.teacher, job.thinking, job.resume, job.seed)
    else:
        settings = grpo_arguments(job.settings, job.thinking, job.resume, job.seed)
    return (
        own_trainer(method, job, settings, reward)
        if side == SIDES[0]
        else trl_trainer(method, job, settings, reward)
    )


def own_trainer(method: str, job, settings, reward):
    """This project's trainer, with its records."""
    from selfdistill.training import grpo, sdpo
    from selfdistill.training.on_policy import build_trainer

    if method == "sdpo":
        return build_trainer(sdpo.SelfDistillationTrainer, job, settings, reward, **sdpo.teacher_options(job))
    return build_trainer(grpo.GroupRelativeTrainer, job, settings, reward)


def trl_trainer(method: str, job, settings, reward):
    """TRL's own trainer on the same data, reward and arguments."""
    from transformers import PrinterCallback
    from trl import GRPOTrainer
    from trl.experimental.sdpo import SDPOTrainer

    from selfdistill.training.checkpoints import load_policy
    from selfdistill.training.datasets import rollout_dataset

    model, tokenizer = load_policy(job.base, job.settings.attn_implementation)
    data = rollout_dataset(
        job.data, tokenizer, job.thinking, steps=job.settings.steps, prompts=job.settings.prompts,
        max_tokens=job.settings.max_prompt_tokens, seed=job.seed,
    )  # fmt: skip

    def scores(*, completions, answers, **_) -> list[float]:
        return [
            grade.score for grade in reward([completion[0]["content"] for completion in completions], answers)
        ]

    kind = SDPOTrainer if method == "sdpo" else GRPOTrainer
    trainer = kind(model, reward_funcs=scores, args=settings, train_dataset=data, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    return trainer


def clocks(updates: int):
    """A trainer callback that notes the time (wall, CPU) at the start and after every step of `updates` optimizer updates."""
    from transformers import TrainerCallback

    class Clocks(TrainerCallback):
        times: list[tuple[float, float]] = []

        def _note(self) -> None:
            self.times.append((time.perf_counter(), time.process_time()))

        def on_train_begin(self, *_, **__) -> None:
            self._note()

        def on_step_end(self, args, state, control, **_) -> None:
            if state.global_step % updates == 0:
                self._note()

    return Clocks()


def measure(options: argparse.Namespace, method: str) -> dict:
    """Seconds of each step and mean tokens of a rollout, of one side; run in a process of its own."""
    import torch

    from selfdistill.grading.graders import Grader
    from selfdistill.problems.problem import read_problems
    from selfdistill.training.rewards import reward_for

    torch.set_num_threads(1)
    tokens = []
    with tempfile.TemporaryDirectory() as folder, Grader() as grader:
        job = training_job(options, method, Path(folder))
        graded = reward_for(read_problems(job.data), grader)

        def reward(responses, answers):
            tokens.append(statistics.mean(len(text.split()) for text in responses))
            return graded(responses, answers)

        trainer = build(options.side, method, job, reward)
        timer = clocks(job.settings.updates_per_step)
        trainer.add_callback(timer)
        if options.profile == "products":
            return products(trainer.train) | {"steps": options.steps}
        phases = Phases()
        if options.profile == "phases":
            watch_trainer(phases, trainer)
        start = time.process_time()
        trainer.train()
        if options.profile == "phases":
            return {"phases": phases.seconds, "whole": time.process_time() - start, "steps": options.steps}
    steps = list(zip(timer.times[:-1], timer.times[1:], strict=True))[WARM_UP:]
    return {
        "wall": [end[0] - start[0] for start, end in steps],
        "cpu": [end[1] - start[1] for start, end in steps],
        "tokens": tokens[WARM_UP:],
    }


class Phases:
    """CPU seconds of the named calls of a trainer, net of named calls inside them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.inner = [0.0]

    def watch(self, owner, method: str, phase: str) -> None:
        """Count the calls of owner.method as `phase`; nothing where there is no such method."""
        call = getattr(owner, method, None)
        if call is None:
            return

        def counted(*args, **kwargs):
            start = time.process_time()
            self.inner.append(0.0)
            try:
                return call(*args, **kwargs)
            finally:
                whole = time.process_time() - start
                self.seconds[phase] = self.seconds.get(phase, 0.0) + whole - self.inner.pop()
                self.inner[-1] += whole

        setattr(owner, method, counted)


def watch_trainer(phases: Phases, trainer) -> None:
    """The phases of an on-policy step of this project's trainers."""
    for method, phase in (
        ("sample_completions", "generation"),
        ("add_old_log_probs", "old log-probabilities"),
        ("teacher_hidden", "teacher forward"),
        ("compute_loss", "student forward and loss"),
        ("_calculate_rewards", "reward"),
    ):
        phases.watch(trainer, method, phase)
    phases.watch(trainer.accelerator, "backward", "backward")


def products(train) -> dict:
    """Matrix products of a training run: their FLOP, their seconds, and the seconds of plain torch.mm of the same shapes."""
    import torch
    from torch.profiler import ProfilerActivity

    with torch.profiler.profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        train()
    flop = seconds = plain = 0.0
    for event in profiler.key_averages(group_by_input_shape=True):
        shapes = [shape for shape in event.input_shapes if len(shape) == 2]
        if event.key not in ("aten::mm", "aten::addmm") or len(shapes) < 2:
            continue
        (rows, inner), (_, columns) = shapes[-2:]
        flop += 2.0 * rows * inner * columns * event.count
        seconds += event.self_cpu_time_total / 1e6
        left, right = torch.randn(rows, inner), torch.randn(columns, inner).t()
        best = min(timed(torch.mm, left, right) for _ in range(5))
        plain += best * event.count
    return {"flop": flop, "seconds": seconds, "plain_seconds": plain}


def timed(function, *args) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def in_own_process(side: str, method: str, options: argparse.Namespace) -> dict:
    """`measure` in a fresh interpreter with one thread."""
    command = [sys.executable, __file__, "--side", side, "--methods", method, "--model", options.model]
    command += ["--results", str(options.results), "--steps", str(options.steps)]
    command += ["--profile", options.profile] if options.profile else []
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def profile(options: argparse.Namespace) -> None:
    """Where this project's step goes: phases, and how near its matrix products come to plain ones. Printed and kept as JSON."""
    result = json.loads(PROFILE.read_text(encoding="utf-8")) if PROFILE.exists() else {}
    for method in options.methods:
        for options.profile in ("phases", "products"):
            found = in_own_process(SIDES[0], method, options)
            result[f"{method} {options.model} {options.note} {options.profile}"] = found
            if options.profile == "phases":
                rest = found["whole"] - sum(found["phases"].values())
                for phase, seconds in sorted(found["phases"].items(), key=lambda item: -item[1]) + [
                    ("else", rest)
                ]:
                    print(
                        f"{method}  {phase:28s} {seconds / options.steps:.3f} s per step, {seconds / found['whole']:.0%}"
                    )
            else:
                speed, plain = (found["flop"] / found[name] / 1e9 for name in ("seconds", "plain_seconds"))
                print(
                    f"{method}  matrix products: {found['flop'] / options.steps / 1e9:.1f} GFLOP per step in "
                    f"{found['seconds'] / options.steps:.3f} s, {speed:.0f} GFLOP/s; plain torch.mm of these shapes {plain:.0f} GFLOP/s"
                )
    PROFILE.parent.mkdir(exist_ok=True)
    PROFILE.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def compare(method: str, options: argparse.Namespace) -> dict:
    """All sides in turn; medians over steps and rounds."""
    import torch
    import trl

    raw = {side: [] for side in SIDES}
    for _ in range(options.rounds):
        for side in SIDES:
            raw[side].append(in_own_process(side, method, options))
    return {
        "method": method, "model": options.model, "steps": options.steps, "rounds": options.rounds,
        "note": options.note, "load_average": os.getloadavg()[0], "machine": platform.machine(),
        "torch": torch.__version__, "trl": trl.__version__, "raw": raw,
        "medians": {
            side: {
                name: statistics.median(value for part in parts for value in part[name])
                for name in ("wall", "cpu", "tokens")
            }
            for side, parts in raw.items()
        },
    }  # fmt: skip


def table(rows: list[dict]) -> str:
    """The rows as Markdown."""
    lines = [
        "# A training step: this project against plain TRL",
        "",
        "Median CPU seconds of a step (12 prompts x 8 rollouts, two updates) on one thread, and the mean tokens of its",
        "rollouts; `python benchmarks/training_step.py --help` says how.",
        "",
        "| method | model | note | side | tokens per rollout | wall, s | CPU, s | TRL's CPU / this project's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        own = row["medians"][SIDES[0]]["cpu"]
        for side, values in row["medians"].items():
            ratio = "" if side == SIDES[0] else f"{values['cpu'] / own:.2f}"
            lines.append(
                f"| {row['method']} | {row['model']} | {row['note']} | {side} | {values['tokens']:.1f} | "
                f"{values['wall']:.2f} | {values['cpu']:.2f} | {ratio} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the methods asked for and write results and table."""
    options = arguments()
    if options.side:
        print(json.dumps(measure(options, options.methods[0])))
        return
    if options.profile:
        profile(options)
        return
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    for method in options.methods:
        row = compare(method, options)
        keys = ("method", "model", "note")
        rows = [old for old in rows if any(old[k] != row[k] for k in keys)] + [row]
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        TABLE.write_text(table(rows), encoding="utf-8")
        print("\n".join(table([row]).splitlines()[-len(SIDES) :]), flush=True)


if __name__ == "__main__":
    main()
