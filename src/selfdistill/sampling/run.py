"""Jobs that generate: samples of a run's checkpoints, samples of section 3, and the off-policy data sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from selfdistill.generation.imports import LOADING
from selfdistill.generation.protocol import Sampling
from selfdistill.models.response_end import folder_end_token_ids
from selfdistill.problems.problem import read_problems
from selfdistill.records.completeness import check_samples, checkpoint_folders
from selfdistill.records.files import read_table, write_table
from selfdistill.records.schemas import off_policy_schema, samples_schema
from selfdistill.records.task import Facts, Task, job
from selfdistill.sampling.evaluation import evaluate_checkpoint, load_generator
from selfdistill.sampling.off_policy import build_datasets
from selfdistill.sampling.section_3 import run_section_3
from selfdistill.study.jobs import EvaluationParams, InterventionParams, Section3Params
from selfdistill.study.sampling import OffPolicySettings
from selfdistill.vocabulary.interventions import FORCE
from selfdistill.vocabulary.runs import BASE, LAST, SECTION_3


def backend_modules(params: Mapping[str, Any]) -> Sequence[str]:
    """Return the modules that a job's generation backend imports."""
    return LOADING[params["job"]["backend"]]


@job(late=backend_modules)
def evaluate(task: Task) -> Facts:
    """Write the samples of one checkpoint of a run on its benchmarks. A base is its own checkpoint at step 0."""
    params = EvaluationParams.model_validate(task.params["job"])
    return write_samples(task, params, Sampling(**params.sampling.model_dump()))


@job(late=backend_modules)
def evaluate_intervention(task: Task) -> Facts:
    """Write the samples of a run after training under an intervention on the epistemic words, with the random numbers of those without."""
    params = InterventionParams.model_validate(task.params["job"])
    sampling = Sampling(**params.sampling.model_dump(), intervention=params.intervention)
    base = Path(task.input.base) if params.intervention == FORCE else None
    return write_samples(task, params, sampling, base)


def write_samples(
    task: Task, params: EvaluationParams, sampling: Sampling, base: Path | None = None
) -> Facts:
    """Write the samples of a job's checkpoint; base: see `load_generator`."""
    paths = zip(params.benchmarks, task.input.benchmarks, strict=True)
    benchmarks = {name: read_problems(path) for name, path in paths}
    step, folder = checkpoint_of(params, Path(task.input.model))
    frame = evaluate_checkpoint(
        step,
        folder,
        benchmarks,
        thinking=params.thinking,
        template=params.template,
        samples=params.samples,
        sampling=sampling,
        fields={"study": params.study, **params.run.fields()},
        seed=params.run.draw_seed,
        backend=params.backend,
        grader=params.grader,
        progress=task.progress,
        parts=task.parts,
        base=base,
    )
    ids = {name: [problem.problem_id for problem in problems] for name, problems in benchmarks.items()}
    check_samples(frame, params.step, ids, params.samples, task.output.samples)
    write_table(task.output.samples, frame, samples_schema())
    return generated(frame, folder)


def generated(frame: pd.DataFrame, folder: Path) -> Facts:
    """Return the facts of samples: number of tokens, and the end token ids of the model that generated them."""
    ends = sorted(set(folder_end_token_ids(folder)))
    return {"tokens": int(frame["response_tokens"].sum()), "end_token_ids": ends}


def checkpoint_of(params: EvaluationParams, folder: Path) -> tuple[int, Path]:
    """Return the number of a job's step and its model's folder: that of a base, or one of the run's checkpoints."""
    if params.run.method == BASE:
        return 0, folder
    found = checkpoint_folders(folder, params.steps)
    step = max(found) if params.step == LAST else params.step
    return step, found[step]


@job(late=backend_modules)
def sample_section_3(task: Task) -> Facts:
    """Write the samples of section 3: one model on the same problems under every context (Table 1, equations 2 to 5)."""
    params = Section3Params.model_validate(task.params["job"])
    base = Path(task.input.base)
    frame = run_section_3(
        load_generator(base, params.thinking, params.backend),
        params.template,
        read_problems(task.input.problems)[: params.settings.pool],
        params.settings,
        Sampling(**params.sampling.model_dump()),
        params.run.draw_seed,
        params.grader,
        task.progress,
        task.parts,
    )
    constant = {name: value for name, value in params.run.fields().items() if name != "context"}
    frame = frame.assign(study=params.study, **constant, step=0, benchmark=SECTION_3)
    write_table(task.output.samples, frame, samples_schema())
    return generated(frame, base)


@job()
def build_off_policy_data(task: Task) -> Facts:
    """Write the data sets of section 4: the model's own correct responses of section 3 to the same problems."""
    settings = OffPolicySettings.model_validate(task.params["job"])
    samples = read_table(task.input.samples, samples_schema())
    problems = read_problems(task.input.problems)
    built = build_datasets(samples, problems, settings.contexts, settings.per_problem, settings.trajectories)
    for context, path in zip(settings.contexts, task.output.data, strict=True):
        write_table(path, built[context], off_policy_schema())
    return {"rows": {context: len(frame) for context, frame in built.items()}}
