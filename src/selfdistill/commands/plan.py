"""What a study will cost and what it can show, without a GPU and without running anything.

`make plan STUDY=paper`, or `python -m selfdistill.commands.plan --study paper [--peak-tflops 2250] …`, in the root of the
repository. A dry run of Snakemake counts the jobs. GPU-hours come from `costs`, whose assumptions are printed and can be
overridden. The results tell which jobs are done.
"""

import argparse
import math
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields

from selfdistill.claims.selection import draws_of
from selfdistill.commands.costs import Assumptions, Cost, CostModel, benchmark_sizes, costs_of
from selfdistill.commands.decidable import decidable_section, smallest_effect
from selfdistill.commands.disk import disk_section
from selfdistill.commands.measure import read_measured
from selfdistill.commands.memory import memory_section
from selfdistill.commands.options import add_study, asked, refusing, study_of
from selfdistill.commands.ranges import ZERO, Range, number, span
from selfdistill.commands.status import expected_jobs, state_of
from selfdistill.records.paths import Paths
from selfdistill.study.jobs import sample_files
from selfdistill.study.methods import METHODS, OFF_POLICY
from selfdistill.study.shown import intervened
from selfdistill.study.study import Study
from selfdistill.vocabulary.runs import Run

LABELS = {
    "peak_tflops": "peak of one GPU (TFLOP/s, bf16)",
    "training_utilisation": "share of the peak in training",
    "decoding_utilisation": "share of the peak in generation",
    "thinking_tokens": "mean response length of a thinking model (tokens)",
    "plain_tokens": "mean response length of other models (tokens)",
    "kept_share": "share of the problems tried in section 3 that are kept",
}


def done_jobs(study: Study) -> set[str]:
    """Return the manifests of the jobs that are done."""
    states = (state_of(entry) for entry in expected_jobs(study))
    return {state.entry.manifest for state in states if state.state == "done"}


def longest_chain(study: Study, costs: dict[str, Cost]) -> tuple[list[Cost], Range]:
    """Return the chain of dependent jobs that takes longest (in expected wall-clock hours), and its hours."""
    paths = Paths(study.name)
    under: dict[Run, list[str]] = defaultdict(list)
    for run, name in intervened(study):
        under[run].append(paths.intervention(run, name))
    chains = []
    for run in study.base_runs() + study.runs():
        base = study.model(run.model).base
        manifests = [paths.manifest(paths.base(base, study.base_replicate(base, run.replicate)))]
        if run.method in OFF_POLICY:
            manifests.append(paths.manifest(paths.section_3(run.model, run.replicate)))
        manifests.append(paths.run_manifest(run))
        before = [costs[name] for name in manifests if name in costs]
        evaluated = (
            costs[paths.manifest(path)] for path in (*sample_files(study, paths, [run]), *under[run])
        )
        chains.append([*before, max(evaluated, key=lambda cost: cost.hours.mid)])
    longest = max(chains, key=lambda chain: sum(cost.hours.mid for cost in chain))
    return longest, sum((cost.hours for cost in longest), ZERO)


def dry_run(config: Mapping[str, str]) -> dict[str, int]:
    """Return the number of jobs per rule that Snakemake would run; raise RuntimeError, with its output, if it fails."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-n",
        "--config",
        *(f"{key}={value}" for key, value in config.items()),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    stats = done.stdout.partition("Job stats:")[2].partition("\ntotal")[0]
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", stats, re.MULTILINE)}


def gpu_section(costs: dict[str, Cost], done: set[str]) -> list[str]:
    """Return the lines on GPU-hours: per rule, in total, and remaining."""
    by_rule: dict[str, list[tuple[str, Cost]]] = defaultdict(list)
    for manifest, cost in costs.items():
        if cost.gpus:
            by_rule[cost.rule].append((manifest, cost))
    if not by_rule:
        return ["GPU-hours: none, no job of this study requests a GPU (time left: `make status`)"]
    lines = ["GPU-hours per rule (expected, range):"]
    for rule, members in by_rule.items():
        hours = sum((cost.gpu_hours for _, cost in members), ZERO)
        finished = sum(manifest in done for manifest, _ in members)
        lines.append(f"  {rule:18} {len(members):4} jobs, {finished} done: {span(hours)}")
    left = [cost.gpu_hours for manifest, cost in costs.items() if manifest not in done]
    lines.append(
        f"  total {span(sum((c.gpu_hours for c in costs.values()), ZERO))}; remaining {span(sum(left, ZERO))}"
    )
    return lines


def evaluation_section(study: Study, assumed: Assumptions) -> list[str]:
    """Return the lines on GPU-hours per benchmark, and on what evaluating it at every checkpoint would cost."""
    if not study.resources_for("evaluate").gpus:
        return []
    model, shown = CostModel(study, assumed), []
    for name in study.all_benchmarks():
        pairs = [
            (run, step)
            for run in study.base_runs() + study.runs()
            if name in study.benchmarks_of(run)
            for step in study.steps_of(run)
        ]
        asked = [pair for pair in pairs if name in study.benchmarks_at(*pair)]
        hours, all_hours = (
            sum((model.evaluation(*pair, [name]).gpu_hours for pair in some), ZERO) for some in (asked, pairs)
        )
        text = f"{name} {number(hours.mid)}"
        if len(asked) < len(pairs):
            text += f" at {len(asked)} of {len(pairs)} checkpoints ({number(all_hours.mid)} at all: benchmarks.every_checkpoint)"
        shown.append(text)
    return [f"  of evaluate, GPU-hours per benchmark: {', '.join(shown)}"]


def over_time(study: Study, costs: dict[str, Cost]) -> list[str]:
    """Return a note per rule whose longest job is expected to exceed its time limit: how often it will be submitted."""
    stages = {method.rule: method.stage for method in METHODS.values()}
    stages |= {"sample_section_3": "section_3", "measure_richness": "section_3"}
    stages |= dict.fromkeys(("evaluate", "evaluate_intervention", "measure_diagnosis"), "evaluate")
    longest: dict[str, Range] = defaultdict(lambda: ZERO)
    for cost in costs.values():
        if cost.gpus:
            longest[cost.rule] = max(longest[cost.rule], cost.hours, key=lambda hours: hours.mid)
    return [
        f"  note: the longest {rule} job is expected to take {span(hours)} h, with a time limit of {number(limit)} h "
        f"(resources.{stages[rule]}.runtime): {math.ceil(hours.mid / limit)} submissions, at worst "
        f"{math.ceil(hours.high / limit)}; each resumes where the last one stopped (`retries` in profiles/slurm/config.yaml)"
        for rule, hours in longest.items()
        if hours.mid > (limit := study.resources_for(stages[rule]).runtime / 60)
    ]


def effects_section(study: Study) -> list[str]:
    """Return the lines on the smallest difference between two arms that each benchmark can detect."""
    k, (replicates, seeds) = study.file.benchmarks.samples_at(last=True), draws_of(study)
    draws = f"{replicates} replicates x {seeds} seeds"
    lines = [f"minimum detectable difference in accuracy (k = {k}, {draws}, 95 %, power 80 %):"]
    for name, size in benchmark_sizes(study).items():
        if size:
            lines.append(f"  {name:18} {size:4} problems: {100 * smallest_effect(study, size, k):.1f} points")
    return lines


def assumption_lines(assumed: Assumptions) -> list[str]:
    """Return the lines on the assumptions, each with its option."""
    lines = ["assumptions (measured only with --measured; each can be overridden by its option):"]
    for part in fields(assumed):
        value = getattr(assumed, part.name)
        shown = span(value) if isinstance(value, Range) else number(value)
        lines.append(f"  {LABELS[part.name]}: {shown}   --{part.name.replace('_', '-')}")
    return lines


def render(study: Study, assumed: Assumptions, jobs: dict[str, int]) -> str:
    """Return the whole page."""
    costs, done = costs_of(study, assumed), done_jobs(study)
    chain, hours = longest_chain(study, costs)
    lines = [f"study {study.name}: {study.file.title}", f"jobs to run: {sum(jobs.values())}"]
    lines += [f"  {rule:24} {count:4}" for rule, count in jobs.items()]
    lines.append(f"done already: {len(done)} of {len(list(expected_jobs(study)))} jobs that take time")
    lines += gpu_section(costs, done) + evaluation_section(study, assumed)
    lines += over_time(study, costs) + memory_section(study)
    if any(cost.gpus for cost in chain):
        names = " -> ".join(f"{cost.rule} {number(cost.hours.mid)} h" for cost in chain)
        lines.append(f"longest chain: {span(hours)} h: {names} ({chain[-1].name})")
    lines += disk_section(study, costs, done) + effects_section(study) + decidable_section(study)
    lines += assumption_lines(assumed)
    return "\n".join(lines)


def assumed_range(text: str) -> Range:
    """Return the range of `0.3` or `0.45,0.30,0.15` (optimistic, expected, pessimistic)."""
    values = [float(part) for part in text.split(",")]
    if len(values) not in (1, 3) or min(values) <= 0:
        raise argparse.ArgumentTypeError(
            f"{text!r}: must be one positive number or three (optimistic,expected,pessimistic)"
        )
    return Range(*(values * 3)[:3] if len(values) == 1 else values)


def parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, Assumptions]:
    """Return the options and the assumptions that they give."""
    parser = argparse.ArgumentParser(prog="python -m selfdistill.commands.plan", description=__doc__)
    add_study(parser, "paper")
    for part in fields(Assumptions):
        kind = float if part.name == "peak_tflops" else assumed_range
        shown = span(part.default) if isinstance(part.default, Range) else number(part.default)
        text = f"{LABELS[part.name]} (default: {shown})".replace("%", "%%")
        parser.add_argument(f"--{part.name.replace('_', '-')}", type=kind, default=part.default, help=text)
    parser.add_argument("--measured", help="file of `commands.measure`: what it holds replaces assumptions")
    options = parser.parse_args(arguments)
    if options.measured:  # options that are given still come first
        parser.set_defaults(**read_measured(options.measured))
        options = parser.parse_args(arguments)
    return options, Assumptions(**{part.name: getattr(options, part.name) for part in fields(Assumptions)})


@refusing
def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan."""
    options, assumed = parse(arguments)
    print(render(study_of(options), assumed, dry_run(asked(options))))


if __name__ == "__main__":
    main()
