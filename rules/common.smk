# The study, its paths, the wildcards, and the getters that the rules share.
import os
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from selfdistill.commands.status import expected_jobs
from selfdistill.jobs.fingerprint import check_declared, script_fingerprint
from selfdistill.jobs.locks import hold_workflow_lock
from selfdistill.jobs.manifest import check_library
from selfdistill.jobs.preflight import check_inputs, check_machine
from selfdistill.jobs.warm.client import start_server
from selfdistill.problems.build import MAKERS
from selfdistill.problems.sources import DATA_ROOT
from selfdistill.records.paths import Paths
from selfdistill.study import jobs, shown
from selfdistill.study.displays import FIGURES, TABLES, display_of
from selfdistill.study.load import check_seed_words, study_from_config
from selfdistill.study.methods import METHODS, OFF_POLICY, ON_POLICY
from selfdistill.vocabulary import contexts, runs, teachers

# Snakemake loads nbformat, hence jsonschema, for any script; jsonschema then builds 38 parsers of addresses, half the time of a
# dry run, where this package is installed. Nothing here checks an address, and jsonschema does without.
sys.modules.setdefault("rfc3987_syntax", None)

check_seed_words(sys.argv)
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

# Slurm sends SIGTERM to every process of a job. If the wrapping shell died of it, Snakemake would take the job for finished and kill
# the training before its checkpoint.
shell.prefix("trap : TERM; set -euo pipefail; ")

check_declared(
    [
        *MAKERS.values(),
        *(method.trainer for method in METHODS.values()),
        *(name for c in contexts.CONTEXTS.values() for name in (c.section_3, c.teacher) if name),
        *(display.draw for display in (*FIGURES.values(), *TABLES.values())),
    ]
)

BACKEND = f"generation.{STUDY.file.backend}_backend"
"""Code that generates for this study, named beside a rule's own module in its fingerprint."""


def one_of(names):
    """Wildcard pattern of some names; of none, one that matches nothing."""
    return "|".join(name.replace(".", r"\.") for name in names) or "(?!)"


wildcard_constraints:
    base=one_of(STUDY.bases()),
    benchmark=one_of(STUDY.all_benchmarks()),
    context=one_of([contexts.NONE, *contexts.CONTEXTS]),
    coverage=rf"{runs.FULL}|{contexts.NONE}|[0-9]+",
    dataset=one_of([contexts.NONE, *STUDY.file.datasets]),
    figure=one_of(FIGURES),
    method=one_of([runs.BASE, *METHODS]),
    model=one_of(STUDY.models()),
    seed=r"[0-9]+",
    table=one_of(TABLES),
    teacher=f"{teachers.NONE}|{teachers.PATTERN}",
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


def surroundings(rule, output, stage):
    """What follows from a rule's name, its first output and its stage: log, manifest, threads, resources."""
    return SimpleNamespace(
        log=PATHS.log(rule, output),
        manifest=PATHS.manifest(output),
        threads=STUDY.resources_for(stage).threads,
        resources=requested(stage),
    )


@cache
def code_of(rule, *modules):
    """Fingerprint of a rule's script and job function, and of further modules of the library."""
    return script_fingerprint(Path(workflow.basedir, "workflow/scripts", f"{rule}.py"), *modules)


def trainer_code(rule):
    """Params function: fingerprint of a training rule with its method's trainer."""
    return lambda wildcards: code_of(rule, library_name(METHODS[wildcards.method].trainer))


def library_name(function):
    """Name below the package of the module of `selfdistill.module:function`."""
    return function.partition(":")[0].removeprefix("selfdistill.")


def base_of(wildcards):
    """Base model folder of a rule's model."""
    return PATHS.base(STUDY.model(wildcards.model).base)


def run_of(wildcards):
    """The run of a rule's wildcards; raises StudyError if the grid does not declare it."""
    return STUDY.run(**dict(wildcards.items()))


def job_params(make):
    """Params function: the typed job object that `make(study, run)` gives, as plain values."""
    return lambda wildcards: make(STUDY, run_of(wildcards)).model_dump()


def numbers_of(frame, models):
    """Frames of numbers of some models."""
    return [PATHS.numbers(frame, model) for model in models]


def frames_of(name):
    """Input files of a figure or table by the names that selfdistill.report.loading knows: those of its frames and runs."""
    several = {
        "training": {"training": [PATHS.training(run) for run in shown.runs_shown(STUDY, name)]},
        "problems": {
            "train_sets": [PATHS.training_problems(dataset, "full") for dataset in STUDY.file.datasets],
            "benchmark_sets": [PATHS.benchmark(benchmark) for benchmark in BENCHMARKS],
        },
    }
    files, models = {}, shown.models_shown(STUDY, name)
    for frame in display_of(name).frames:
        files |= several[frame] if frame in several else {frame: numbers_of(frame, models)}
    return files


def drawing_code(rule, name):
    """Fingerprint of a figure's or table's rule with the module that draws it."""
    return code_of(rule, library_name(display_of(name).draw))


def declared(name, path, suffixes):
    """Input function of a named target; raises StudyError if the study does not declare the figure or table."""
    return lambda wildcards: shown.experiments_shown(STUDY, name) is not None and [
        path(name, suffix) for suffix in suffixes
    ]
