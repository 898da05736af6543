"""Checks of a study that go beyond types: references that lead nowhere and grids that cannot be run.

Each check raises StudyError with the file, the key and what is allowed there.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from selfdistill.study.grid import RunGrid, expand
from selfdistill.study.methods import METHODS, STAGES, RolloutSettings
from selfdistill.study.models import OrganismBase, PolishedBase
from selfdistill.study.resources import ResourceSettings
from selfdistill.study.shown import curves_of, runs_shown
from selfdistill.study.yaml import distinct, known, read_yaml, reject
from selfdistill.vocabulary.teachers import FIXED

if TYPE_CHECKING:
    from selfdistill.study.study import Study


def check_study(study: "Study", models_path: Path, benchmarks_path: Path) -> None:
    """Run every check; the first one that fails raises."""
    if study.path.stem != study.name:
        reject(study.path, "study", f"{study.name!r} is not the file's name", [study.path.stem])
    for key, model in study.catalogue.models.items():
        known(models_path, f"models.{key}.base", [model.base], study.catalogue.bases)
    organisms = [key for key, base in study.catalogue.bases.items() if isinstance(base, OrganismBase)]
    for key, base in study.catalogue.bases.items():
        if isinstance(base, PolishedBase):
            known(models_path, f"bases.{key}.of", [base.of], organisms)
    check_lists(study)
    known(
        study.path,
        "benchmarks.names",
        study.file.benchmarks.names,
        study.benchmark_catalogue.benchmarks,
        benchmarks_path.name,
    )
    for dataset, names in study.file.benchmarks.also.items():
        known(study.path, "benchmarks.also", [dataset], study.file.datasets)
        distinct(study.path, f"benchmarks.also.{dataset}", [*study.file.benchmarks.names, *names])
        known(
            study.path,
            f"benchmarks.also.{dataset}",
            names,
            study.benchmark_catalogue.benchmarks,
            benchmarks_path.name,
        )
    known(study.path, "evaluate", study.file.evaluate, study.catalogue.models, models_path.name)
    known(study.path, "benchmarks.headline", study.file.benchmarks.headline, study.file.benchmarks.names)
    known(study.path, "benchmarks.roles", study.file.benchmarks.roles.values(), study.all_benchmarks())
    check_datasets(study)
    check_section_3(study)
    for index, entry in enumerate(study.file.runs):
        check_entry(study, f"runs.{index}", entry)
    check_duplicates(study)
    check_settings(study)
    check_processes(study)
    check_roles(study, models_path)
    check_displays(study)
    check_every_checkpoint(study)


def check_lists(study: "Study") -> None:
    """Lists without repeats."""
    file = study.file
    lists = {
        "replicates": file.replicates,
        "seeds": file.seeds,
        "evaluate": file.evaluate,
        "benchmarks.names": file.benchmarks.names,
        "benchmarks.headline": file.benchmarks.headline,
        "off_policy.contexts": file.off_policy.contexts if file.off_policy else [],
    }
    for kind in ("figures", "tables"):
        lists |= {f"{kind}.{name}": shown for name, shown in getattr(file, kind).items()}
    for key, values in lists.items():
        distinct(study.path, key, values)


def check_datasets(study: "Study") -> None:
    """Subsets are declared once; the domains exist; `default` is a variant."""
    file = study.file
    for name, spec in file.datasets.items():
        key = f"datasets.{name}.coverages"
        distinct(study.path, key, spec.coverages)
        for coverage in getattr(spec, "subsets", {}):
            known(study.path, f"datasets.{name}.subsets", [str(coverage)], map(str, spec.coverages))
    for domain, name in (("broad", file.domains.broad), ("narrow", file.domains.narrow)):
        known(study.path, f"domains.{domain}", [name] if name else [], file.datasets)
    if file.variants.get("default") != {}:
        reject(study.path, "variants", "`default: {}` must be declared, without overrides")


def check_section_3(study: "Study") -> None:
    """Section 3 refers to declared models and data, section 4 needs section 3."""
    section_3 = study.file.section_3
    if section_3 is None:
        if study.file.off_policy is not None:
            reject(
                study.path, "off_policy", "is built from the responses of section 3: declare `section_3` too"
            )
        return
    known(study.path, "section_3.models", section_3.models, study.catalogue.models, "models.yaml")
    distinct(study.path, "section_3.models", section_3.models)
    known(study.path, "section_3.dataset", [section_3.dataset], study.file.datasets)


def check_entry(study: "Study", key: str, entry: RunGrid) -> None:
    """One entry of the grid: its references, then what its method asks for."""
    file = study.file
    known(study.path, f"{key}.models", entry.models, study.catalogue.models, "models.yaml")
    known(study.path, f"{key}.dataset", [entry.dataset], file.datasets)
    known(study.path, f"{key}.variants", entry.variants, file.variants)
    coverages = [str(coverage) for coverage in file.datasets[entry.dataset].coverages]
    known(
        study.path,
        f"{key}.coverages",
        map(str, entry.coverages),
        coverages,
        f"datasets.{entry.dataset}.coverages",
    )
    METHODS[entry.method].check_entry(study, key, entry)


def check_duplicates(study: "Study") -> None:
    """An experiment declares each run once (two experiments may share a run, which is then trained once)."""
    seen: dict[tuple[str, object], int] = {}
    for index, entry in enumerate(study.file.runs):
        for run in expand(entry, study.draws(entry.seeds)):
            first = seen.setdefault((entry.experiment, run), index)
            if first != index:
                reject(
                    study.path,
                    f"runs.{index}",
                    f"declares the run {run} of experiment {entry.experiment} again (first in runs.{first})",
                )
        for name in ("models", "contexts", "teachers", "coverages", "variants", "seeds"):
            distinct(study.path, f"runs.{index}.{name}", getattr(entry, name) or [])


def check_settings(study: "Study") -> None:
    """The settings of every method and variant that the grid uses resolve.

    Variants change something that is used.
    """
    used = {(entry.method, variant) for entry in study.file.runs for variant in entry.variants}
    for method, variant in sorted(used):
        study.resolve(method, variant)
        sections = study.file.variants[variant]
        if sections and not set(sections) & set(METHODS[method].sections):
            reject(
                study.path,
                f"variants.{variant}",
                f"changes nothing for {method}, which uses it",
                METHODS[method].sections,
            )


def check_processes(study: "Study") -> None:
    """Jobs that ask for several GPUs say how they share them, and what they share can be shared."""
    for stage, asked in study.file.resources.items():
        key = f"resources.{stage}"
        if stage not in STAGES:
            for name in ("accelerate", "processes", "nodes"):
                if getattr(asked, name) != ResourceSettings.model_fields[name].default:
                    reject(study.path, f"{key}.{name}", "is for training jobs", STAGES)
            continue
        check_nodes(study, key, asked)
        check_launch(study, key, asked)
        for method in (m for m, known_as in METHODS.items() if asked.accelerate and known_as.stage == stage):
            for variant in sorted({v for e in study.file.runs if e.method == method for v in e.variants}):
                check_shares(study, key, asked.process_count, method, variant)
                check_passes(study, key, asked, method, variant)


def check_launch(study: "Study", key: str, asked: ResourceSettings) -> None:
    """The accelerate configuration exists, fits GPUs and teachers, and has at least two processes."""
    names = sorted(file.stem for file in study.accelerate_config("*").parent.glob("*.yaml"))
    if asked.accelerate is None:
        if asked.gpus > 1:
            problem = f"a training job on {asked.gpus} GPUs needs a configuration that shares them out"
            reject(study.path, f"{key}.accelerate", problem, names)
        if asked.processes is not None:
            reject(study.path, f"{key}.processes", "needs `accelerate`", names)
        return
    known(study.path, f"{key}.accelerate", [asked.accelerate], names, "accelerate/")
    processes = asked.process_count
    if processes < 2:
        reject(study.path, f"{key}.accelerate", "needs two GPUs or processes: leave the key out for one")
    if asked.gpus and processes != asked.gpus:
        reject(
            study.path, f"{key}.processes", f"{processes} processes on {asked.gpus} GPUs", [str(asked.gpus)]
        )
    kind = kind_of(study, asked)
    if not asked.gpus and kind != "MULTI_GPU":
        reject(
            study.path, f"{key}.accelerate", f"{asked.accelerate} shards weights, which needs GPUs", ["ddp"]
        )
    moving = [t for entry in study.file.runs for t in entry.teachers or () if t != FIXED]
    if kind == "DEEPSPEED" and moving and key == "resources.rl":
        problem = f"{asked.accelerate} holds the teacher {moving[0]} in bfloat16, which cannot take up its small steps"
        reject(study.path, f"{key}.accelerate", problem, [name for name in names if name != asked.accelerate])


def check_nodes(study: "Study", key: str, asked: ResourceSettings) -> None:
    """Several nodes have GPUs, the same number each."""
    if asked.nodes > 1 and (not asked.gpus or asked.gpus % asked.nodes):
        problem = f"{asked.gpus} GPUs cannot be shared out evenly to {asked.nodes} nodes"
        divisors = [str(number) for number in range(1, asked.gpus + 1) if asked.gpus % number == 0]
        reject(study.path, f"{key}.nodes", problem, divisors or ["1"])


def check_shares(study: "Study", key: str, processes: int, method: str, variant: str) -> None:
    """Prompts, rollouts and examples can be shared out evenly to the processes."""
    settings, who = study.resolve(method, variant), f"{method}, variant {variant}"
    if isinstance(settings, RolloutSettings):
        if settings.prompts % processes:
            problem = f"{processes} processes cannot share {settings.prompts} prompts per step as whole groups ({who})"
            reject(study.path, f"{key}.processes", problem)
        rows = settings.prompts * settings.rollouts / settings.updates_per_step
        if rows % 1:
            return  # feasibility.training.check_rollouts refuses that, whatever the processes
    else:
        rows = settings.batch_size
    share = rows / processes
    if share % 1 or share % (settings.micro_batch or share):
        problem = f"{processes} processes cannot share {rows:g} rows per update in passes of {settings.micro_batch} ({who})"
        reject(study.path, f"{key}.processes", problem)


def check_passes(study: "Study", key: str, asked: ResourceSettings, method: str, variant: str) -> None:
    """Passes of a number of tokens are not asked of DeepSpeed, which counts passes by itself."""
    limit = getattr(study.resolve(method, variant), "micro_tokens", None)
    if limit and kind_of(study, asked) == "DEEPSPEED":
        problem = f"{asked.accelerate} cannot have micro_tokens = {limit} ({method}, variant {variant})"
        reject(study.path, f"{key}.accelerate", problem, ["ddp", "fsdp"])


def kind_of(study: "Study", asked: ResourceSettings) -> str | None:
    """Return how the accelerate configuration of a job distributes it, in accelerate's words."""
    return read_yaml(study.accelerate_config(asked.accelerate)).get("distributed_type")


def check_roles(study: "Study", models_path: Path) -> None:
    """Raise StudyError if two models of the study play the same role of the paper."""
    players: dict[str, str] = {}
    for model in study.models():
        role = study.model(model).role
        if role and players.setdefault(role, model) != model:
            problem = f"{players[role]} of the study {study.name} has the role {role!r} too"
            reject(models_path, f"models.{model}.role", problem)


def check_displays(study: "Study") -> None:
    """Raise StudyError unless figures, tables and `on_request` list experiments of the grid, and the first two can show them."""
    experiments = dict.fromkeys(entry.experiment for entry in study.file.runs)
    known(study.path, "on_request", study.file.on_request, experiments)
    distinct(study.path, "on_request", study.file.on_request)
    for kind in ("figures", "tables"):
        for name, shown in getattr(study.file, kind).items():
            known(study.path, f"{kind}.{name}", shown, experiments)
            runs_shown(study, name)


def check_every_checkpoint(study: "Study") -> None:
    """Raise StudyError unless benchmarks and experiments are declared and every figure has what it draws by step."""
    key, chosen = "benchmarks.every_checkpoint", study.file.benchmarks.every_checkpoint
    known(study.path, key, chosen, study.all_benchmarks())
    for name, experiments in chosen.items():
        known(
            study.path,
            f"{key}.{name}",
            experiments,
            dict.fromkeys(entry.experiment for entry in study.file.runs),
        )
        distinct(study.path, f"{key}.{name}", experiments)
    for figure in study.file.figures:
        for run in runs_shown(study, figure):
            seen = [set(study.benchmarks_at(run, step)) for step in study.steps_of(run)]
            for name in curves_of(study, figure):
                if not all(name in names for names in seen):
                    problem = f"{figure} draws {name} by step, of {run} too: must list one of its experiments"
                    reject(study.path, f"{key}.{name}", problem, study.experiments_of(run))
