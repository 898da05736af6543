# The study, its paths, the wildcard constraints, and functions that several rules share.
import gc
import os
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from selfdistill.commands.costs import Assumptions, costs_of
from selfdistill.commands.disk import evaluation_gb, room_gb, training_gb
from selfdistill.commands.status import expected_jobs
from selfdistill.jobs.fingerprint import appearance, check_declared, script_fingerprint
from selfdistill.jobs.locks import hold_workflow_lock
from selfdistill.jobs.manifest import check_library
from selfdistill.jobs.preflight import check_inputs, check_machine, check_outputs
from selfdistill.jobs.retraining import check_retraining
from selfdistill.jobs.warm.client import start_server
from selfdistill.problems.build import MAKERS
from selfdistill.problems.sources import DATA_ROOT
from selfdistill.records.paths import Paths
from selfdistill.records.pins import LOCK
from selfdistill.study import diagnosis, jobs, shown
from selfdistill.study.displays import FIGURES, TABLES, display_of
from selfdistill.study.load import DRAWS, asked_to_retrain, check_draw_words, study_from_config
from selfdistill.study.methods import METHODS, OFF_POLICY, ON_POLICY
from selfdistill.vocabulary import contexts, runs, teachers
from selfdistill.vocabulary.graders import GRADERS, grader_module
from selfdistill.vocabulary.interventions import INTERVENTIONS

# For any script, Snakemake imports nbformat and hence jsonschema. If the package rfc3987_syntax is installed, jsonschema builds its
# 38 parsers of addresses, which takes half of a dry run. Nothing here checks an address, and jsonschema works without the package.
sys.modules.setdefault("rfc3987_syntax", None)
# What a plan consists of lives until its end. To look for garbage among it again and again takes a sixth of a dry run.
gc.freeze()
gc.set_threshold(100_000)

check_draw_words(sys.argv)
STUDY = study_from_config(config, os.path.relpath(f"{workflow.basedir}/config"))
RETRAIN = asked_to_retrain(config)
PATHS = Paths(STUDY.name)
if STUDY.file.data_root:  # read when a job runs: results do not depend on where the files are
    os.environ.setdefault(DATA_ROOT, STUDY.file.data_root)
os.environ.setdefault(LOCK, str(STUDY.lock))
BENCHMARKS = STUDY.file.benchmarks.names
REPORTED = os.path.relpath(f"{workflow.basedir}/config/reported.yaml")
TEMPLATES = [
    os.path.relpath(f"{workflow.basedir}/src/selfdistill/report/templates/{name}")
    for name in ("report.html.j2", "report.css", "report.js")
]
DEVIATIONS = os.path.relpath(f"{workflow.basedir}/docs/deviations.md")

if STUDY.file.disk_gb is not None:
    room = room_gb(STUDY, costs_of(STUDY, Assumptions()))
    # as `--resources disk_gb=N` on the command line, which comes first
    if "disk_gb" not in workflow.global_resources:
        workflow.register_resource("disk_gb", room)

# Slurm sends SIGTERM to every process of a job. If the wrapping shell died of it, Snakemake would take the job for finished and kill
# the training before its checkpoint.
shell.prefix("trap : TERM; set -euo pipefail; ")

check_declared(
    [
        *MAKERS.values(),
        *(method.trainer for method in METHODS.values()),
        *(name for c in contexts.CONTEXTS.values() for name in (c.section_3, c.teacher, c.turn) if name),
        *(display.draw for display in (*FIGURES.values(), *TABLES.values())),
    ]
)

BACKEND = f"generation.{STUDY.file.backend}_backend"
"""Module of this study's generation backend, which the fingerprints of generating rules include."""
GRADING = [grader_module(name) for name in ("mcq", STUDY.file.benchmarks.grader)]
"""Modules of the graders of this study's samples, which the fingerprints of sampling rules include."""
APPEARANCE = appearance()
"""Fingerprint of what figures, tables and reports look like."""


SHARED = ("problems", "report")
"""Stages of small jobs, which share an allocation on a cluster: the number of an attempt is not one of them."""


def one_of(names):
    """Return a wildcard pattern that matches these names; without names, one that matches nothing."""
    return "|".join(name.replace(".", r"\.") for name in names) or "(?!)"


wildcard_constraints:
    base=one_of(STUDY.bases()),
    benchmark=one_of(STUDY.all_benchmarks()),
    context=one_of([contexts.NONE, *contexts.CONTEXTS]),
    coverage=rf"{runs.FULL}|{contexts.NONE}|[0-9]+",
    dataset=one_of([contexts.NONE, *STUDY.file.datasets]),
    figure=one_of(FIGURES),
    grader=one_of(GRADERS),
    intervention=one_of(INTERVENTIONS),
    method=one_of([runs.BASE, *METHODS]),
    model=one_of(STUDY.models()),
    replicate=r"[0-9]+",
    seed=r"[0-9]+",
    table=one_of(TABLES),
    teacher=f"{teachers.NONE}|{teachers.PATTERN}",
    variant=one_of(STUDY.file.variants),


def requested(stage):
    """Return the resources of a stage from the study file; GPUs and processes only if there are any.

    The distribution of a job over processes is not among its params, because its result does not depend on it.
    """
    asked = STUDY.resources_for(stage)
    # without `nodes`, Slurm may take the GPUs of a job from two nodes, and the step that it starts on one fails
    gpus = {"gpu": asked.gpus, "tasks_per_gpu": 0, "nodes": asked.nodes} if asked.gpus else {}
    if asked.nodes > 1:
        # as for an MPI job, the script runs on the first node and starts a task on each by itself; `gres` is per node
        gpus |= {"mpi": "srun", "tasks": asked.nodes, "gres": f"gpu:{asked.gpus // asked.nodes}"}
    retried = {} if stage in SHARED else {"attempt": lambda wildcards, attempt: attempt}
    shared = {}
    if asked.accelerate:
        shared = {
            "processes": asked.process_count,
            "accelerate": str(STUDY.accelerate_config(asked.accelerate)),
        }
    return {"mem_mb": asked.mem_mb, "runtime": asked.runtime, **gpus, **retried, **shared}


def checkpointing(wildcards):
    """Return the steps between a run's further checkpoints; 0 for none."""
    return STUDY.settings_for(run_of(wildcards)).resume_every or 0


def held(gb):
    """Return a resource function: the GB that a job on a run holds on disk, by a function of commands.disk."""
    return lambda wildcards: gb(STUDY, run_of(wildcards))


def exported(path):
    """Return a folder of exported models as an output, which is deleted after its evaluation if the study says so."""
    return directory(path) if STUDY.file.keep_checkpoints else temp(directory(path))


def surroundings(rule, output, stage):
    """Return the directives that follow from a rule's name, first output and stage: log, manifest, threads, resources."""
    return SimpleNamespace(
        log=PATHS.log(rule, output),
        manifest=PATHS.manifest(output),
        threads=STUDY.resources_for(stage).threads,
        resources=requested(stage),
    )


@cache
def code_of(rule, *modules):
    """Return the fingerprint of a rule's script and job function, and of further modules of the library."""
    return script_fingerprint(Path(workflow.basedir, "workflow/scripts", f"{rule}.py"), *modules)


def trainer_code(rule):
    """Return a params function: the fingerprint of a training rule, including the trainer of its method and the grader of its rewards."""

    def fingerprint(wildcards):
        trainer = library_name(METHODS[wildcards.method].trainer)
        return code_of(rule, trainer, *rewarding(run_of(wildcards)))

    return fingerprint


def rewarding(run):
    """Return the modules of the graders of a run's rollouts; none for SFT."""
    grader = getattr(STUDY.settings_for(run), "grader", None)
    return [grader_module(name) for name in ("mcq", grader)] if grader else []


def library_name(function):
    """Return the name below the package of the module of `selfdistill.module:function`."""
    return function.partition(":")[0].removeprefix("selfdistill.")


def base_of(wildcards):
    """Return the base model folder of a rule's model."""
    base = STUDY.model(wildcards.model).base
    return PATHS.base(base, STUDY.base_replicate(base, int(wildcards.replicate)))


def off_policy_data(wildcards):
    """Return the data set that a run of an off-policy method trains on."""
    path = PATHS.off_policy_matched if METHODS[wildcards.method].equal_tokens else PATHS.off_policy
    return path(**{name: wildcards[name] for name in ("model", "dataset", "replicate", "context")})


def run_of(wildcards):
    """Return the run of a rule's wildcards; raise StudyError if the grid does not declare it."""
    return STUDY.run(**dict(wildcards.items()))


def step_of(wildcards):
    """Return the step of a rule's wildcards."""
    return runs.LAST if wildcards.step == runs.LAST else int(wildcards.step)


def problem_set_params(wildcards):
    """Return the params of a whole problem set: a training set, or a benchmark of held-out problems."""
    if wildcards.split == "train":
        return jobs.training_set_params(STUDY, wildcards.name, int(wildcards.replicate)).model_dump()
    return jobs.benchmark_params(STUDY, wildcards.name).model_dump()


def maker_of(wildcards):
    """Return the module that makes a problem set of its source."""
    return library_name(MAKERS[problem_set_params(wildcards)["spec"]["source"]])


def evaluated_model(wildcards):
    """Return the checkpoints of a run, or the base itself."""
    run = run_of(wildcards)
    return base_of(wildcards) if run.method == runs.BASE else PATHS.checkpoints(run)


def job_params(make):
    """Return a params function: the typed job object from `make(study, run)`, as plain values."""
    return lambda wildcards: make(STUDY, run_of(wildcards)).model_dump()


def numbers_of(frame, models):
    """Return the frames of numbers of some models."""
    return [PATHS.numbers(frame, model) for model in models]


def frames_of(name):
    """Return the input files of a figure or table: those of its frames and runs, by the names in selfdistill.report.loading and drawing."""
    several = {
        "reported": {"reported": REPORTED},
        "diagnosis": {"diagnosis": PATHS.diagnosed},
        "training": {"training": [PATHS.training(run) for run in shown.runs_shown(STUDY, name)]},
        "richness": {"richness": [PATHS.richness(*draw) for draw in shown.richness_draws(STUDY)]},
        "interventions": {
            "interventions": [PATHS.intervention(*pair) for pair in shown.intervened(STUDY)],
            "untouched": jobs.last_sample_files(STUDY, PATHS, shown.intervened_runs(STUDY)),
        },
        "screening": {
            "screening": jobs.sample_files(STUDY, PATHS, shown.with_bases(shown.runs_shown(STUDY, name)))
        },
        "problems": {
            "train_sets": [
                PATHS.training_problems(dataset, min(STUDY.file.replicates), "full")
                for dataset in STUDY.file.datasets
            ],
            "benchmark_sets": [PATHS.benchmark(benchmark) for benchmark in BENCHMARKS],
        },
    }
    files, models = {}, shown.models_shown(STUDY, name)
    for frame in display_of(name).frames:
        files |= several[frame] if frame in several else {frame: numbers_of(frame, models)}
    return files


def drawing_code(rule, name):
    """Return the fingerprint of the rule of a figure or table, including the module that draws it."""
    return shown_code(rule, library_name(display_of(name).draw))


def shown_code(rule, *modules):
    """Return the fingerprint of a rule that draws, including looks, symbols and labels."""
    return code_of(rule, *modules) + APPEARANCE


def declared(name, path, suffixes):
    """Return the input function of a named target, which raises StudyError if the study does not declare it."""

    def files(wildcards):
        shown.experiments_shown(STUDY, name)  # raises
        return [path(name, suffix) for suffix in suffixes]

    return files
