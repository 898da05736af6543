# The study, its paths, the wildcards, and the getters that the rules share.
import os
import sys

from selfdistill.records.paths import Paths
from selfdistill.study.displays import FIGURES, TABLES
from selfdistill.jobs.fingerprint import code_fingerprint
from selfdistill.jobs.locks import hold_workflow_lock
from selfdistill.jobs.preflight import check_inputs
from selfdistill.problems.sources import DATA_ROOT
from selfdistill.commands.status import expected_jobs, quick_manifests
from selfdistill.study.load import study_from_config
from selfdistill.jobs.warm.client import start_server

# Snakemake loads nbformat, hence jsonschema, for any script; jsonschema then builds 38 parsers of addresses, half the time of a
# dry run, where this package is installed. Nothing here checks an address, and jsonschema does without.
sys.modules.setdefault("rfc3987_syntax", None)

STUDY = study_from_config(config, os.path.relpath(f"{workflow.basedir}/config"))
PATHS = Paths(STUDY.name)
if STUDY.file.data_root:  # read when a job runs: where the files lie is no part of what a result depends on
    os.environ.setdefault(DATA_ROOT, STUDY.file.data_root)
BENCHMARKS = STUDY.file.benchmarks.names
REPORTED = os.path.relpath(f"{workflow.basedir}/config/reported.yaml")
TEMPLATES = [
    os.path.relpath(f"{workflow.basedir}/src/selfdistill/report/templates/{name}")
    for name in ("report.html.j2", "report.css", "report.js")
]
DEVIATIONS = os.path.relpath(f"{workflow.basedir}/docs/deviations.md")
ENVIRONMENT = "../envs/gpu.yaml" if STUDY.file.backend == "vllm" else "../envs/cpu.yaml"

# Slurm sends SIGTERM to every process of a job. Where the shell around a script died of it, the job would count as ended, and what
# is left of it would be killed, while its training still works towards the checkpoint.
shell.prefix("trap : TERM; set -euo pipefail; ")

# code that generates for this study, named beside a rule's own module in its fingerprint
BACKEND = f"generation.{STUDY.file.backend}_backend"

# the fields of a run that its method fixes; the others are the wildcards of the method's rule
BASE = {
    "method": "base",
    "context": "none",
    "teacher": "none",
    "dataset": "none",
    "coverage": "none",
    "variant": "default",
}
SFT = {"method": "sft", "teacher": "none", "coverage": "full"}
GRPO = {"method": "grpo", "context": "none", "teacher": "none"}
SDPO = {"method": "sdpo"}


def one_of(names):
    """Wildcard pattern of some names; of none, one that matches nothing."""
    return "|".join(name.replace(".", r"\.") for name in names) or "(?!)"


wildcard_constraints:
    base=one_of(STUDY.bases()),
    benchmark=one_of(STUDY.all_benchmarks()),
    context=r"none|unguided|answer-only|regeneration|solution|other-solution",
    coverage=r"full|[0-9]+",
    dataset=one_of(STUDY.file.datasets),
    figure=one_of(FIGURES),
    method=r"sft|grpo|sdpo",
    model=one_of(STUDY.models()),
    seed=r"[0-9]+",
    table=one_of(TABLES),
    teacher=r"none|fixed|ema-[0-9.]+",
    variant=one_of(STUDY.file.variants),


def requested(stage):
    """Resources of a stage as the study file gives them; GPUs and processes only where there are any.

    How a job is shared out is no param: its result does not depend on it.
    """
    asked = STUDY.resources_for(stage)
    gpus = {"gpu": asked.gpus, "tasks_per_gpu": 0} if asked.gpus else {}
    shared = {}
    if asked.accelerate:
        shared = {
            "processes": asked.process_count,
            "accelerate": str(STUDY.accelerate_config(asked.accelerate)),
        }
    return {"mem_mb": asked.mem_mb, "runtime": asked.runtime, **gpus, **shared}


def requested_threads(stage):
    """CPU cores of a stage."""
    return STUDY.resources_for(stage).threads


def base_of(wildcards):
    """Base model folder of a rule's model."""
    return PATHS.base(STUDY.model(wildcards.model).base)


def training_params(fixed):
    """Params function of a training rule: all that its result depends on beside its input files."""
    return lambda wildcards: STUDY.training_params(STUDY.run(**dict(wildcards.items()), **fixed))


def evaluation_params(fixed):
    """Params function of an evaluation rule: all that its result depends on beside its input files."""
    return lambda wildcards: STUDY.evaluation_params(STUDY.run(**dict(wildcards.items()), **fixed).fields())


def evaluated_on(fixed):
    """Input function of an evaluation rule: the problems of its run's benchmarks, in the order of its params."""
    return lambda wildcards: [
        PATHS.benchmark(name) for name in STUDY.benchmarks_of(STUDY.run(**dict(wildcards.items()), **fixed))
    ]


def frames_of(name):
    """Input files of a figure or table by the names that selfdistill.report.loading knows: those of its frames."""
    display = FIGURES.get(name) or TABLES[name]
    runs = STUDY.runs(*STUDY.shown(name), methods=("grpo", "sdpo"))
    several = {
        "training": {"training": [PATHS.training(run) for run in runs]},
        "problems": {
            "train_sets": [PATHS.training_problems(dataset, "full") for dataset in STUDY.file.datasets],
            "benchmark_sets": [PATHS.benchmark(benchmark) for benchmark in BENCHMARKS],
        },
    }
    files = {}
    for frame in display.frames:
        files |= several[frame] if frame in several else {frame: PATHS.numbers(frame)}
    return files


def declared(name, path, suffixes):
    """Input function of a named target; raises StudyError if the study does not declare the figure or table."""
    return lambda wildcards: STUDY.shown(name) is not None and [path(name, suffix) for suffix in suffixes]
