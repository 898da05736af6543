"""The study file: one YAML file says what a study runs, shows and asks of the machine.

Every key is a field here or in a module of its section (`models`, `data`, `sampling`, `training`, `resources`), described once;
config/README.md is held against them by a test. Imports neither torch nor pandas.
"""

from typing import Any, Literal

from pydantic import Field

from selfdistill.study import displays
from selfdistill.study.data import DatasetSpec, Domains
from selfdistill.study.fields import Name, Positive, Section
from selfdistill.study.grid import RunGrid
from selfdistill.study.methods import SECTIONS, STAGES
from selfdistill.study.resources import ResourceSettings
from selfdistill.study.sampling import BenchmarkSettings, OffPolicySettings, Section3Settings

JOB_STAGES = ("problems", "base", "section_3", "off_policy", *STAGES, "evaluate", "numbers", "report")
"""Stages of jobs, keys of `resources`; `numbers`: what reads samples (estimates, claims, the page), `report`: figures and tables."""
FIGURES, TABLES = tuple(displays.FIGURES), tuple(displays.TABLES)


class StudyFile(Section):
    """config/{study}.yaml."""

    study: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="name of the study; must be the file's name")
    title: str = Field(description="title of the report")
    plumbing: bool = Field(
        default=False,
        description="the study only shows that the pipeline runs: the report says so, and no claim is judged",
    )
    claims: str = Field(
        default="claims.yaml",
        pattern=r"^[a-z0-9_]+\.yaml$",
        description="file of this folder with the claims that the study is judged by",
    )
    backend: Literal["transformers", "vllm"] = Field(description="generation backend")
    replicates: list[int] = Field(
        default=[0],
        min_length=1,
        description="replicates of the study: each draws base models, training problems, coverage subsets, section 3 "
        "and off-policy data anew",
    )
    seeds: list[int] = Field(
        default=[0], min_length=1, description="seeds of training and sampling within each replicate"
    )
    benchmarks: BenchmarkSettings = Field(description="evaluation")
    datasets: dict[Name, DatasetSpec] = Field(min_length=1, description="training problem sets")
    data_root: str | None = Field(
        default=None,
        description="folder with the `local` files of all hub sources; overridden by the environment variable SELFDISTILL_DATA",
    )
    domains: Domains = Field(description="the broad and the narrow domain")
    evaluate: list[str] = Field(
        default=[], description="models to evaluate without training, in addition to the bases of `runs`"
    )
    section_3: Section3Settings | None = Field(default=None, description="section 3 (null: left out)")
    off_policy: OffPolicySettings | None = Field(
        default=None, description="data sets of section 4 (null: left out)"
    )
    training: dict[Literal[SECTIONS], dict[str, Any]] = Field(
        description="settings by method; `rl` is shared by all on-policy methods"
    )
    variants: dict[Name, dict[Literal[SECTIONS], dict[str, Any]]] = Field(
        default={"default": {}}, description="name: keys of `training` that it overrides"
    )
    runs: list[RunGrid] = Field(description="the grid of runs")
    on_request: list[str] = Field(
        default=[],
        description="experiments that are left out unless `--config experiments=NAME,...` names them",
    )
    keep_checkpoints: bool = Field(
        default=True,
        description="whether exported models stay after their evaluation; without them, a change of the evaluation "
        "would train their runs again, and `--config retrain=yes` must allow it",
    )
    disk_gb: Positive | None = Field(
        default=None,
        description="GB that the study may take on disk at once, as `make plan` computes them: trainings wait until there is room "
        "(null: no bound)",
    )
    figures: dict[Literal[FIGURES], list[str]] = Field(
        default={}, description="figure: experiments whose runs it draws; [] for a figure of section 3"
    )
    tables: dict[Literal[TABLES], list[str]] = Field(
        default={},
        description="table: experiments whose runs it shows; [] for tables of section 3 or of the problem sets, in main-results for every run",
    )
    resources: dict[Literal[JOB_STAGES], ResourceSettings] = Field(
        default={}, description="stage: resources of its jobs"
    )
