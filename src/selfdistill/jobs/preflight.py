"""What can be known of a study's files before its first job: that inputs are there and the expected ones, that outputs are whole.

The Snakefile calls `check_machine`, `check_inputs` and `check_outputs` when a run starts (not for a dry run). Files that a rule will
fetch are not looked at, nor those of problem sets and bases that are made already. Rows and columns are verified by the rule that reads
them (`sources`), contents of outputs by the job that reads them.
"""

import importlib.util
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from selfdistill.models.fetching import BaseMissing, check_weights_folder
from selfdistill.problems.packaged import PackageMissing, weights_file
from selfdistill.problems.problem import ProblemError
from selfdistill.problems.sources import local_file, verify_hash
from selfdistill.records.file_lists import FILE_LIST, check_size, read_file_list
from selfdistill.records.files import Damaged, read_json
from selfdistill.records.paths import MANIFESTS, Paths
from selfdistill.study.feasibility.training import uses
from selfdistill.study.models import HubBase, PackageBase
from selfdistill.study.study import Study
from selfdistill.vocabulary.attention import missing_package

SPECIAL = re.compile(r"""[\s'"\\$`&|;<>()*?\[\]{}!#~]""")
"""What a shell does not take as it stands."""


class MachineError(RuntimeError):
    """A machine on which the study's jobs cannot start, one line each: what is missing, and the way out."""


def check_machine(study: Study, own_environments: bool = False) -> None:
    """Raise MachineError if this Python cannot run the study's jobs.

    own_environments: the jobs run in a container, so packages are not looked for here.
    """
    wrong = []
    if found := SPECIAL.search(sys.executable):
        wrong.append(
            f"{sys.executable}: Snakemake does not quote the path of its Python, which holds {found[0]!r}: "
            "make the environment elsewhere (`python3 -m venv /plain/path`), or move this folder"
        )
    if study.file.backend == "vllm" and not own_environments and importlib.util.find_spec("vllm") is None:
        wrong.append(
            f"{study.path}: backend: vllm is not installed in {sys.prefix}: `make setup-gpu` installs "
            "envs/lock-gpu.txt, with all that it needs (docs/cluster.md)"
        )
    for stage, asked in study.file.resources.items():
        if asked.nodes > 1 and shutil.which("srun") is None:
            wrong.append(
                f"{study.path}: resources.{stage}.nodes: {asked.nodes} nodes need Slurm; srun not found"
            )
    if not own_environments:
        wrong += [f"{study.path}: {problem}" for problem in attention_problems(study)]
    if wrong:
        raise MachineError("\n".join(wrong))


def attention_problems(study: Study) -> list[str]:
    """Return which packages of attention functions this Python lacks, with the keys that ask for them."""
    asked = {use.key("attn_implementation"): use.settings.attn_implementation for use in uses(study)}
    return [
        f"{key}: {name} needs the package {missing}, which is not installed in {sys.prefix}"
        for key, name in asked.items()
        if (missing := missing_package(name))
    ]


class InputError(ValueError):
    """Input files that are missing or not the expected ones, one line each: file of the config, key, what is wrong."""


def check_inputs(study: Study, paths: Paths) -> None:
    """Raise InputError with everything that is wrong with the files of problem sets and bases that are still to be made."""
    wrong = []
    for key, output, check in inputs(study, paths):
        if not Path(output).exists():
            try:
                check()
            except (ProblemError, PackageMissing, BaseMissing) as error:
                wrong.append(f"{key}: {error}")
    if wrong:
        raise InputError("\n".join(wrong))


def inputs(study: Study, paths: Paths) -> Iterator[tuple[str, str, Callable[[], None]]]:
    """(file and key of the config, what is made of the input, its check) of every input."""
    for _, key, output, source in data_sources(study, paths):
        yield key, output, partial(check_source, source)
    for name, replicate in study.base_draws():
        base = study.base(name)
        if isinstance(base, PackageBase):
            key = f"{study.path.with_name('models.yaml')}: bases.{name}.file"
            yield key, paths.base(name, replicate), partial(weights_file, base.file)
        elif isinstance(base, HubBase) and base.path:
            key = f"{study.path.with_name('models.yaml')}: bases.{name}.path"
            yield key, paths.base(name, replicate), partial(check_weights_folder, Path(base.path))


def data_sources(study: Study, paths: Paths) -> Iterator[tuple[str, str, str, dict]]:
    """(name, file and key of the config, problem set that is made of it, source) of all problems that a study reads or makes."""
    for name in study.all_benchmarks():
        key = f"{study.path.with_name('benchmarks.yaml')}: benchmarks.{name}"
        yield name, key, paths.benchmark(name), study.benchmark_spec(name)
    first = min(study.file.replicates)
    for name, spec in study.file.datasets.items():
        key = f"{study.path}: datasets.{name}"
        yield name, key, paths.training_problems(name, first, "full"), study.dataset_spec(name)
        for size in getattr(spec, "subsets", {}):
            output = paths.training_problems(name, first, str(size))
            yield f"{name}/{size}", f"{key}.subsets.{size}", output, study.subset_spec(name, size)


def check_source(source: dict) -> None:
    """Raise a ProblemError or PackageMissing if the file of a source should be on this machine and is not, or is another."""
    if source["source"] == "hub":
        path = local_file(source)
        if path is not None:
            verify_hash(path, source["expect"]["sha256"])


def check_outputs(folder: str | Path) -> None:
    """Raise Damaged with every finished output below `folder` whose size differs from that in its manifest or file list.

    A missing output is no error: its rule makes it again.
    """
    wrong = {}
    for manifest in sorted(Path(folder).rglob(MANIFESTS)):
        name = str(manifest)
        try:
            written = read_json(manifest)
            for name in written["outputs"]:
                check_output(Path(name), written.get("sizes", {}).get(name))
        except Damaged as error:
            wrong[name] = str(error)
    if wrong:
        raise Damaged("\n".join([*wrong.values(), f"to make them again: `rm -r {' '.join(wrong)}`"]))


def check_output(output: Path, size: int | None) -> None:
    """Raise Damaged if a file does not have `size` bytes (None: not recorded), or one in a folder not those of its list."""
    if size is not None and output.is_file():
        check_size(output, size)
    for listing in output.rglob(FILE_LIST):
        for name, entry in read_file_list(listing.parent).items():
            if (path := listing.parent / name).exists():
                check_size(path, entry["size"])
