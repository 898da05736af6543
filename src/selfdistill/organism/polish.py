r"""Polish of a mini base: rounds of SFT on its own correct unguided responses, after its training from scratch.

The paper's bases have been through such filtering many times: it moves them no more, so that their own correct responses teach them
nothing new (section 4: SFT on D_ug changes little). An organism fresh from its documents still has flaws that one round removes. A
round is section 4 on other problems: the model answers problems of the training split without a context, and learns from the correct
responses to those that it solves sometimes.
"""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from selfdistill.generation.imports import transformers_modules
from selfdistill.generation.protocol import Sampling
from selfdistill.generation.transformers_backend import TransformersGenerator
from selfdistill.grading.graders import Grader
from selfdistill.organism.acceptance import BENCHMARK_TYPES, first_accepted, measure_base
from selfdistill.organism.chains import make_problem_set
from selfdistill.problems.problem import Problem
from selfdistill.records.completeness import checkpoint_folders
from selfdistill.records.file_lists import write_file_list
from selfdistill.records.files import atomic_path, link_or_copy, write_table
from selfdistill.records.parts import Parts
from selfdistill.records.schemas import off_policy_schema
from selfdistill.records.task import Facts, Task, job
from selfdistill.sampling.evaluation import response_frame
from selfdistill.sampling.off_policy import build_datasets
from selfdistill.sampling.section_3 import select_problems
from selfdistill.seeds import derive_seed
from selfdistill.study.jobs import BaseParams
from selfdistill.training.job import TrainingJob
from selfdistill.training.sft import train_sft
from selfdistill.vocabulary.organism import LAST_ROUND
from selfdistill.vocabulary.runs import FULL, LAST, Run

logger = logging.getLogger(__name__)

UNGUIDED = "unguided"
MEASURED = 512
"""Problems per benchmark of the acceptance, so that chance moves a difference of two rounds by less than its bound."""
ACCURACIES = tuple(f"accuracy {name}" for name in BENCHMARK_TYPES)
TRAINED = "checkpoints"
"""Folder of a round that holds its model once it is trained."""


@job(late=transformers_modules)
def polish_base(task: Task) -> Facts:
    """Polish a base and test it; fails, with the measurements, if no draw is accepted."""
    params = BaseParams.model_validate(task.params["job"])
    base, rounds = Path(task.input.base), params.spec.rounds

    def draw(seed: int, folder: Path) -> Mapping[str, float]:
        """Return the measurements of one draw, whose rounds lie in `folder`."""
        models = [base]
        for number in range(1, rounds + 1):
            models.append(Round(params, seed, number, folder / f"round-{number}").model(models[-1]))
            task.progress(number, rounds)
        return measured(params, seed, models[-2:])

    place, figures = first_accepted(draw, params.spec.acceptance, params.seed, task.resume)
    with atomic_path(Path(task.output.model)) as temporary:
        shutil.copytree(trained_in(place / f"round-{rounds}"), temporary, copy_function=link_or_copy)
        (temporary / "acceptance.json").write_text(json.dumps(figures, indent=1) + "\n")
        write_file_list(temporary)
    return figures


def measured(params: BaseParams, seed: int, folders: Sequence[Path]) -> Mapping[str, float]:
    """Return the figures of a polished base with the largest change of an accuracy in its last round.

    folders: the models before and after the last round. Both answer the same problems with the same random numbers.
    """
    spec = params.spec
    before, figures = (
        measure_base(
            folder, params.template, seed, MEASURED, spec.thinking, max_new_tokens=spec.max_new_tokens
        )
        for folder in folders
    )
    changes = {name: value - before[name] for name, value in figures.items() if name in ACCURACIES}
    logger.info("last round: %s", changes)
    figures[LAST_ROUND] = max(map(abs, changes.values()))
    return figures


def trained_in(folder: Path) -> Path:
    """Return the model of a finished round that lies in a folder."""
    (model,) = checkpoint_folders(folder / TRAINED, [LAST]).values()
    return model


@dataclass(frozen=True)
class Round:
    """One round. seed: of the draw; number: from 1; folder: its state, which survives a killed job: finished batches, checkpoints, the model."""

    params: BaseParams
    seed: int
    number: int
    folder: Path

    def model(self, base: Path) -> Path:
        """Return the folder of the model after the round, made from `base` unless it is there already."""
        if not (self.folder / TRAINED).exists():
            data = self.folder / "data.parquet"
            if not data.exists():
                write_table(data, self.examples(base), off_policy_schema())
            train_sft(self.training(base, data))
        return trained_in(self.folder)

    def training(self, base: Path, data: Path) -> TrainingJob:
        """Return the SFT of the round as a run of the library."""
        spec, replicate = self.params.spec, self.params.replicate
        return TrainingJob(
            run=Run(
                self.params.base,
                "sft",
                UNGUIDED,
                "none",
                "polish",
                FULL,
                f"round-{self.number}",
                replicate,
                0,
            ),
            template=self.params.template,
            thinking=spec.thinking,
            settings=spec.sft,
            base=base,
            data=data,
            output=self.folder,
            resume=self.folder / "training",
        )

    def examples(self, base: Path) -> pd.DataFrame:
        """Return correct responses of `base` to problems that it solves sometimes (records.schemas.off_policy_schema).

        Raise section_3.TooFewProblems or off_policy.NoTrajectories if it solves too few.
        """
        spec, seed = self.params.spec, derive_seed(self.seed, "polish", self.number)
        pool = make_problem_set(spec.types, spec.selection.pool, seed, "train", "polish")
        generator = TransformersGenerator.load(base, spec.thinking)
        sampling = Sampling(max_new_tokens=spec.max_new_tokens)
        parts = Parts(self.folder / "parts")
        with Grader() as grader:

            def answer(problems: Sequence[Problem]) -> pd.DataFrame:
                """Return the responses to a batch of problems, reused if they are finished."""
                stream = derive_seed(seed, problems[0].problem_id)
                samples = spec.selection.samples
                return parts.get(
                    str(stream),
                    lambda: response_frame(
                        generator, problems, self.params.template, samples, sampling, stream, grader
                    ),
                )

            key = f"bases.{self.params.base}.selection.pool in config/models.yaml"
            frame, kept = select_problems(pool, spec.selection, answer, key)
        frame = frame.assign(context=UNGUIDED)
        return build_datasets(frame, kept, [UNGUIDED], spec.per_problem, spec.trajectories)[UNGUIDED]
