"""What a job depends on beside its input files, as typed objects: a rule's params are one of these, dumped.

The functions at the end make them from a study; the job functions of the library validate them again.
"""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializeAsAny, field_serializer, field_validator, model_validator

from selfdistill.records.paths import Paths
from selfdistill.seeds import draw_seed
from selfdistill.study.fields import GraderName, Section
from selfdistill.study.methods import METHODS
from selfdistill.study.models import BaseSpec
from selfdistill.study.sampling import SamplingSettings, Section3Settings
from selfdistill.study.study import Study
from selfdistill.vocabulary.interventions import INTERVENTIONS
from selfdistill.vocabulary.runs import SECTION_3, Run, Step, base_run


class JobParams(BaseModel):
    """Params of a rule: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelJob(JobParams):
    """A job that runs a model: how its prompts are written."""

    run: Run
    template: str
    thinking: str

    @field_validator("run", mode="before")
    @classmethod
    def _read_run(cls, value: Any) -> Any:
        return Run.from_fields(value) if isinstance(value, dict) else value

    @field_serializer("run")
    def _write_run(self, run: Run) -> dict[str, str | int]:
        return run.fields()


class BaseParams(JobParams):
    """A base model whose weights are drawn; template: of its chats."""

    base: str
    spec: BaseSpec
    template: str
    replicate: int

    @property
    def seed(self) -> int:
        """Return what its random streams are derived from."""
        return draw_seed(self.replicate)


class TrainingParams(ModelJob):
    """Training of one run; settings: of its method and variant."""

    settings: SerializeAsAny[Section]

    @model_validator(mode="before")
    @classmethod
    def _read_settings(cls, values: Any) -> Any:
        settings, run = values["settings"], values["run"]
        if isinstance(settings, dict):
            method = run["method"] if isinstance(run, dict) else run.method
            return {**values, "settings": METHODS[method].settings.model_validate(settings)}
        return values


class EvaluationParams(ModelJob):
    """Samples of one checkpoint of a run.

    step: of the checkpoint; steps: of all checkpoints of the run; samples: responses per problem.
    """

    study: str
    step: Step
    steps: list[Step]
    benchmarks: list[str]
    samples: int
    sampling: SamplingSettings
    backend: str
    grader: GraderName


class InterventionParams(EvaluationParams):
    """Samples of one checkpoint of a run under an intervention on the epistemic words."""

    intervention: Literal[INTERVENTIONS]


class DeclaredSamples(JobParams):
    """What a samples file must hold."""

    step: Step
    benchmarks: list[str]
    samples: int


class Section3Params(ModelJob):
    """Samples of one model under the contexts of section 3."""

    study: str
    settings: Section3Settings
    sampling: SamplingSettings
    backend: str
    grader: GraderName


class RichnessParams(ModelJob):
    """How much the contexts of section 3 tell about a model's correct responses; batch: problems per finished part."""

    study: str
    batch: int


class NumbersParams(JobParams):
    """Numbers of one model: its samples, each with the step and the benchmarks that its study declares.

    declared: one entry per samples file; ood: out-of-domain benchmarks; shift_benchmark:
    where word frequencies are compared.
    """

    ood: list[str]
    shift_benchmark: str
    declared: list[DeclaredSamples]


class ProblemsParams(JobParams):
    """A problem set; split: `train`, or `held-out` for a benchmark; spec: how it is made or where it is read."""

    name: str
    split: Literal["train", "held-out"]
    spec: dict[str, Any]
    seed: int


class SubsetParams(JobParams):
    """A coverage subset; source: the file that holds it, None if it is drawn from the whole set."""

    dataset: str
    coverage: int
    source: dict[str, Any] | None
    seed: int


def base_params(study: Study, base: str, replicate: int) -> BaseParams:
    """Return what a base model that is drawn depends on."""
    return BaseParams(
        base=base, spec=study.base(base), template=study.root(base).template, replicate=replicate
    )


def training_params(study: Study, run: Run) -> TrainingParams:
    """Return what the training of a run depends on."""
    return TrainingParams(run=run, settings=study.settings_for(run), **study.prompt_form(run.model))


def evaluation_params(study: Study, run: Run, step: Step) -> EvaluationParams:
    """Return what the samples of a run at one of its steps depend on; raise StudyError if it has no checkpoint there."""
    return EvaluationParams(
        study=study.name,
        run=run,
        step=step,
        steps=list(study.steps_of(run)),
        benchmarks=study.benchmarks_at(run, step),
        samples=study.samples_at(run, step),
        sampling=study.sampling_for(run.model),
        backend=study.file.backend,
        grader=study.file.benchmarks.grader,
        **study.prompt_form(run.model),
    )


def intervention_params(study: Study, run: Run, intervention: str) -> InterventionParams:
    """Return what the samples of a run after training depend on under an intervention."""
    evaluated = evaluation_params(study, run, study.steps_of(run)[-1])
    return InterventionParams(**evaluated.model_dump(), intervention=intervention)


def section_3_params(study: Study, model: str, replicate: int) -> Section3Params:
    """Return what the samples of section 3 depend on; each replicate has one draw of them, whatever the seeds of the runs."""
    section_3 = study.file.section_3
    fields = base_run(model, replicate, 0).fields() | {"dataset": section_3.dataset}
    top_k = {} if section_3.top_k is None else {"top_k": section_3.top_k}
    sampling = study.sampling_for(model, section_3.max_new_tokens).model_dump() | top_k
    return Section3Params(
        study=study.name,
        run=fields,
        settings=section_3.model_copy(update={"models": [model]}),
        sampling=sampling,
        backend=study.file.backend,
        grader=study.file.benchmarks.grader,
        **study.prompt_form(model),
    )


def richness_params(study: Study, model: str, replicate: int) -> RichnessParams:
    """Return what the measured richness of a model's contexts depends on beside its samples of section 3."""
    section_3 = section_3_params(study, model, replicate)
    return RichnessParams(
        study=study.name,
        run=section_3.run,
        batch=section_3.settings.batch,
        template=section_3.template,
        thinking=section_3.thinking,
    )


def sample_files(study: Study, paths: Paths, runs: Iterable[Run]) -> list[str]:
    """Return the files of the samples of some runs, step by step."""
    return [paths.samples(run, step) for run in runs for step in study.steps_of(run)]


def graded_files(study: Study, paths: Paths) -> list[str]:
    """Return the files of all samples of a study, those of section 3 at the end."""
    evaluated = sample_files(study, paths, study.base_runs() + study.runs())
    return evaluated + [paths.section_3(*draw) for draw in study.section_3_draws()]


def problem_files(study: Study, paths: Paths) -> dict[str, list[str]]:
    """Return benchmark -> files of its problems, `section-3` with one per replicate included."""
    files = {name: [paths.benchmark(name)] for name in study.all_benchmarks()}
    if study.section_3_models():
        asked = study.section_3_dataset()
        files[SECTION_3] = [paths.training_problems(asked, one, "full") for one in study.file.replicates]
    return files


def last_sample_files(study: Study, paths: Paths, runs: Iterable[Run]) -> list[str]:
    """Return the files of the samples of some runs at their last step."""
    return [paths.samples(run, study.steps_of(run)[-1]) for run in runs]


def numbers_params(study: Study, model: str) -> NumbersParams:
    """Return what the numbers of a model depend on beside its samples."""
    declared = [
        DeclaredSamples(
            step=step, benchmarks=study.benchmarks_at(run, step), samples=study.samples_at(run, step)
        )
        for run in study.runs_of_model(model)
        for step in study.steps_of(run)
    ]
    return NumbersParams(
        ood=study.ood(),
        shift_benchmark=study.shift_benchmark(),
        declared=declared,
    )


def training_set_params(study: Study, dataset: str, replicate: int) -> ProblemsParams:
    """Return how a replicate's whole training set is made."""
    spec = study.dataset_spec(dataset)
    return ProblemsParams(name=dataset, split="train", spec=spec, seed=draw_seed(replicate))


def benchmark_params(study: Study, benchmark: str) -> ProblemsParams:
    """Return how the problems of a benchmark are made, the same for all replicates."""
    spec = study.benchmark_spec(benchmark)
    return ProblemsParams(name=benchmark, split="held-out", spec=spec, seed=0)


def subset_params(study: Study, dataset: str, coverage: int, replicate: int) -> SubsetParams:
    """Return how a coverage subset is made."""
    source = study.subset_spec(dataset, coverage)
    return SubsetParams(dataset=dataset, coverage=coverage, source=source, seed=draw_seed(replicate))
