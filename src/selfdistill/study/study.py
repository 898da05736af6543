"""A validated study and the grid of runs that it declares; wildcards, targets, job params and figures follow from it."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from selfdistill.study.data import Benchmarks
from selfdistill.study.file import StudyFile
from selfdistill.study.grid import expand
from selfdistill.study.methods import METHODS, RolloutSettings
from selfdistill.study.models import BaseSpec, Models, ModelSpec
from selfdistill.study.resources import ResourceSettings
from selfdistill.study.sampling import SamplingSettings
from selfdistill.study.yaml import reject, validated
from selfdistill.vocabulary.families import Family, family_of
from selfdistill.vocabulary.runs import BASE, LAST, Run, Step, base_run


@dataclass(frozen=True)
class Study:
    """A validated study: its file, the models and benchmarks that it may refer to, and the grid.

    whole: the file before a choice of experiments and models; None if it is `file`.
    """

    path: Path
    file: StudyFile
    catalogue: Models
    benchmark_catalogue: Benchmarks
    whole: StudyFile | None = None

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.file.study

    @property
    def lock(self) -> Path:
        """File of what the first fetches found, to which the study is held (records.pins)."""
        return self.path.parent / "lock" / f"{self.name}.yaml"

    @property
    def ledger(self) -> Path:
        """File of the claims that the study is judged by (claims.ledger)."""
        return self.path.parent / self.file.claims

    def model(self, key: str) -> ModelSpec:
        """A model of models.yaml."""
        return self.catalogue.models[key]

    def base(self, key: str) -> BaseSpec:
        """A base of models.yaml."""
        return self.catalogue.bases[key]

    def root_key(self, key: str) -> str:
        """Key of the base that a polished one was trained from; of any other base its own. Its draws are those of both."""
        return getattr(self.base(key), "of", key)

    def root(self, key: str) -> BaseSpec:
        """The base that a polished one was trained from; any other base itself."""
        return self.base(self.root_key(key))

    def family(self, model: str) -> Family:
        """The family of a model: how its chat template writes its thinking."""
        return family_of(self.root(self.model(model).base).template)

    def prompt_form(self, model: str) -> dict[str, str]:
        """Template and thinking of a model: how its prompts are written."""
        return {"template": self.family(model).name, "thinking": self.model(model).thinking}

    @cached_property
    def _grid(self) -> dict[Run, tuple[str, ...]]:
        """Every run, the bases first, and the experiments that it serves."""
        found: dict[Run, tuple[str, ...]] = {}
        for run, experiment in self._declared():
            found[run] = tuple(dict.fromkeys((*found.get(run, ()), experiment)))
        bases = {(run.model, run.replicate, run.seed): None for run in found}
        bases |= {(model, *draw): None for model in self.file.evaluate for draw in self.draws()}
        return {base_run(*base): () for base in bases} | found

    def draws(self, seeds: Sequence[int] | None = None) -> list[tuple[int, int]]:
        """Return the draws (replicate, seed) of the study, or of an entry of the grid with its own seeds."""
        return list(itertools.product(self.file.replicates, seeds or self.file.seeds))

    def _declared(self) -> Iterator[tuple[Run, str]]:
        """Runs as the grid declares them, entry by entry."""
        for entry in self.file.runs:
            for run in expand(entry, self.draws(entry.seeds)):
                yield run, entry.experiment

    def runs(self, *experiments: str, methods: Sequence[str] = tuple(METHODS)) -> tuple[Run, ...]:
        """The trained runs (or those of `methods`) of some experiments, of all without an argument."""
        wanted = set(experiments)
        return tuple(
            run
            for run in self._grid
            if run.method in methods and (not wanted or wanted & set(self._grid[run]))
        )

    def base_runs(self, *models: str) -> tuple[Run, ...]:
        """The untrained models as runs, one for each draw that occurs in the grid."""
        return tuple(run for run in self._grid if run.method == BASE and (not models or run.model in models))

    def runs_of_model(self, model: str) -> tuple[Run, ...]:
        """All runs of a model, its bases first."""
        return tuple(run for run in self.base_runs() + self.runs() if run.model == model)

    def experiments_of(self, run: Run) -> tuple[str, ...]:
        """The experiments that a run serves."""
        return self._grid[run]

    def run(self, **fields: Any) -> Run:
        """The run with these fields (wildcards); raises StudyError if the grid does not declare it."""
        run = Run.from_fields(fields)
        if run not in self._grid:
            reject(self.path, "runs", f"no such run: {run}", [str(other) for other in self._grid])
        return run

    def models(self) -> tuple[str, ...]:
        """Every model that the study uses, in order of appearance."""
        section_3 = self.file.section_3.models if self.file.section_3 else []
        return tuple(
            dict.fromkeys(
                [*(m for entry in self.file.runs for m in entry.models), *self.file.evaluate, *section_3]
            )
        )

    def roles(self) -> dict[str, str]:
        """Return role (vocabulary.roles) -> the study's model that declares it."""
        return {role: model for model in self.models() if (role := self.model(model).role)}

    def bases(self, source: str | None = None) -> tuple[str, ...]:
        """Every base that the study uses, one that is polished after its organism; or those of a source (`organism`, `hub`)."""
        used = dict.fromkeys(self.model(model).base for model in self.models())
        names = dict.fromkeys(name for base in used for name in (self.root_key(base), base))
        return tuple(name for name in names if source in (None, self.base(name).source))

    def settings_for(self, run: Run) -> Any:
        """The settings of a run's method with its variant's overrides (a class of its method)."""
        key = (run.method, run.variant)
        if key not in self._resolved:
            self._resolved[key] = self.resolve(*key)
        return self._resolved[key]

    @cached_property
    def _resolved(self) -> dict[tuple[str, str], Any]:
        """What `resolve` has returned so far: a plan asks for each run's settings many times."""
        return {}

    def resolve(self, method: str, variant: str) -> Any:
        """The sections of `training` that a method uses, a variant's overrides over them, validated."""
        merged: dict[str, Any] = {}
        origin: dict[str, str] = {}
        for prefix, sections in (
            ("training", self.file.training),
            (f"variants.{variant}", self.file.variants[variant]),
        ):
            for section in METHODS[method].sections:
                for key, value in sections.get(section, {}).items():
                    merged[key], origin[key] = value, f"{prefix}.{section}"
        kind = METHODS[method].settings
        if issubclass(kind, RolloutSettings):
            merged.setdefault("backend", self.file.backend)
        return validated(
            kind, merged, self.path, lambda key: origin.get(key, f"training.{METHODS[method].sections[-1]}")
        )

    def sampling_for(self, model: str, max_new_tokens: int | None = None) -> SamplingSettings:
        """How a model's responses are drawn: the study's settings, the model's own over them."""
        sampling = {name: getattr(self.file.benchmarks, name) for name in SamplingSettings.model_fields}
        own = self.model(model).sampling.model_dump(exclude_none=True)
        limit = {"max_new_tokens": max_new_tokens} if max_new_tokens else {}
        return SamplingSettings(**sampling | own | limit)

    def all_benchmarks(self) -> list[str]:
        """Every benchmark that some run is evaluated on."""
        also = (name for names in self.file.benchmarks.also.values() for name in names)
        return list(dict.fromkeys([*self.file.benchmarks.names, *also]))

    def benchmarks_of(self, run: Run) -> list[str]:
        """What a run is evaluated on, by name: the study's benchmarks, and those of its training set.

        A base: those of all runs of its model in the whole file, so that its samples serve any choice of experiments.
        """
        entries = (self.whole or self.file).runs
        of_model = {entry.dataset for entry in entries if run.model in entry.models}
        trained_on = of_model if run.method == BASE else {run.dataset}
        also = self.file.benchmarks.also
        found = [name for dataset in also if dataset in trained_on for name in also[dataset]]
        return sorted({*self.file.benchmarks.names, *found})

    def steps_of(self, run: Run) -> tuple[Step, ...]:
        """The steps at which a run is evaluated, in order: those of its exported models, 0 for a base."""
        if run.method == BASE:
            return (0,)
        exported = self.settings_for(run).exported_steps
        return (LAST,) if exported is None else exported

    def benchmarks_at(self, run: Run, step: Step) -> list[str]:
        """What a run is evaluated on at one of its steps, by name; raises StudyError if it has no checkpoint there."""
        steps = self.steps_of(run)
        if step not in steps:
            reject(self.path, "runs", f"{run} is not evaluated at step {step}", map(str, steps))
        found = self.benchmarks_of(run)
        if step == steps[-1]:
            return found
        chosen = self.file.benchmarks.every_checkpoint
        serves = set(self.experiments_of(run))
        return [name for name in found if name not in chosen or serves & set(chosen[name])]

    def samples_at(self, run: Run, step: Step) -> int:
        """Return the number of responses per problem with which a run is evaluated at one of its steps."""
        return self.file.benchmarks.samples_at(last=step == self.steps_of(run)[-1])

    def base_draws(self, source: str | None = None) -> list[tuple[str, int]]:
        """Return every base with the replicates that have weights of their own: released weights are one draw."""
        return [
            (name, replicate)
            for name in self.bases(source)
            for replicate in dict.fromkeys(self.base_replicate(name, one) for one in self.file.replicates)
        ]

    def base_replicate(self, base: str, replicate: int) -> int:
        """Return the replicate whose weights of a base a replicate uses: its own, or 0 for released weights."""
        return replicate if self.base(base).drawn else 0

    def section_3_draws(self) -> list[tuple[str, int]]:
        """Return the models and replicates of section 3."""
        return list(itertools.product(self.section_3_models(), self.file.replicates))

    def section_3_models(self) -> list[str]:
        """Models of section 3; none if the study leaves it out."""
        return list(self.file.section_3.models) if self.file.section_3 else []

    def section_3_dataset(self) -> str:
        """Training set that section 3 draws from (the broad domain if the study leaves it out)."""
        return self.file.section_3.dataset if self.file.section_3 else self.file.domains.broad

    def off_policy_contexts(self) -> list[str]:
        """Contexts of the off-policy data sets; none if the study leaves them out."""
        return sorted(self.file.off_policy.contexts) if self.file.off_policy else []

    def headline(self) -> list[str]:
        """The benchmarks of panels (b) and (c): as declared, else the first in domain and the first out of domain."""
        outside = self.ood()
        inside = [name for name in self.file.benchmarks.names if name not in outside]
        return list(self.file.benchmarks.headline) or (inside[:1] + outside)[:2]

    def shift_benchmark(self) -> str:
        """The benchmark on which Figure 12 compares word frequencies: the paper's AIME24, the last of the headline."""
        return self.headline()[-1]

    def dataset_spec(self, name: str) -> dict[str, Any]:
        """How a training set is made: the slice that its problems depend on."""
        return self.file.datasets[name].model_dump(exclude={"coverages", "subsets"})

    def subset_spec(self, name: str, coverage: int) -> dict[str, Any] | None:
        """The source of a coverage subset that has a file of its own, else None: it is drawn from the set."""
        file = getattr(self.file.datasets[name], "subsets", {}).get(coverage)
        prepared = {"rewrite": "none", "suffix": "", "prefix": ""}
        return self.dataset_spec(name) | prepared | file.model_dump() if file else None

    def benchmark_spec(self, name: str) -> dict[str, Any]:
        """How a benchmark's problems are made (no labels): the slice that its problems depend on."""
        spec = self.benchmark_catalogue.benchmarks[name]
        slice_ = spec.model_dump(exclude={"label", "ood", "paper"})
        slice_["problems"] = slice_.get("problems") or self.file.benchmarks.problems
        return slice_

    def ood(self) -> list[str]:
        """The study's out-of-domain benchmarks, by name."""
        return [name for name, entry in sorted(self.benchmark_labels().items()) if entry["ood"]]

    def benchmark_labels(self) -> dict[str, dict[str, Any]]:
        """Benchmark -> label and ood, in display order."""
        entries = self.benchmark_catalogue.benchmarks
        return {
            name: entries[name].model_dump(include={"label", "ood"}) for name in self.file.benchmarks.names
        }

    def resources_for(self, stage: str) -> ResourceSettings:
        """What a job of a stage asks for."""
        return self.file.resources.get(stage, ResourceSettings())

    def accelerate_config(self, name: str) -> Path:
        """An accelerate configuration that `resources` may name."""
        return self.path.parent / "accelerate" / f"{name}.yaml"
