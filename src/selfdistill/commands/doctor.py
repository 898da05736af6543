"""Whether this machine can run a study: `make doctor STUDY=paper`, or `python -m selfdistill.commands.doctor`.

Checks package versions against the pins, driver and GPUs, base models (fetched, cached, or to be had from the hub), data files (local
ones are read and verified), free disk space against what the study will write, and Slurm. Every line is ok, warning or problem; the exit
status is 1 if there is a problem. Nothing is changed or downloaded.
"""

import argparse
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from selfdistill.commands.costs import Assumptions, costs_of
from selfdistill.commands.disk import kept_gb, room_gb
from selfdistill.commands.memory import most_demanding, needs_of
from selfdistill.commands.options import refusing
from selfdistill.commands.plan import done_jobs
from selfdistill.commands.ranges import number
from selfdistill.jobs.preflight import attention_problems, data_sources
from selfdistill.models.fetching import BaseMissing, name_of, present
from selfdistill.problems.packaged import PackageMissing
from selfdistill.problems.problem import ProblemError
from selfdistill.problems.sources import DATA_ROOT, local_file, read_hub_problems
from selfdistill.records.paths import Paths
from selfdistill.records.pins import read_pins
from selfdistill.study.load import study_from_config
from selfdistill.study.study import Study

TIMEOUT = 10
"""Seconds within which a command or a host must answer."""


@dataclass(frozen=True)
class Finding:
    """One line of output. level: `ok`, `warning` or `problem`; subject: what was checked; text: what was found."""

    level: str
    subject: str
    text: str

    def __str__(self) -> str:
        """Return the line as it is printed."""
        return f"  {self.level:8} {self.subject:10} {self.text}"


def output_of(*command: str) -> str | None:
    """Return what a command prints; None if it is missing, fails, or takes longer than TIMEOUT."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def installed(package: str) -> str | None:
    """Return the version of an installed package; None if it is missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_versions(study: Study, version_of: Callable[[str], str | None] = installed) -> Iterator[Finding]:
    """Check the installed packages against the pins of the study's environment."""
    kind = "gpu" if study.file.backend == "vllm" else "cpu"
    pins = Path("envs") / f"requirements-{kind}.txt"
    wrong = []
    lines = [line for line in pins.read_text(encoding="utf-8").splitlines() if "==" in line]
    for line in lines:
        name, _, pinned = line.strip().partition("==")
        found = version_of(name)
        if (found or "").partition("+")[0] != pinned:
            wrong.append(f"{name} {found or 'missing'} (pinned {pinned})")
    text = f"{len(lines) - len(wrong)} of {len(lines)} packages match {pins}"
    yield Finding("problem" if wrong else "ok", "versions", "; ".join([text, *wrong]))


def check_attention(study: Study) -> Iterator[Finding]:
    """Check whether the packages of the attention functions that trainings ask for are installed."""
    for problem in attention_problems(study):
        yield Finding("problem", "attention", problem)


def gpus_wanted(study: Study) -> int:
    """Return the largest number of GPUs that a job of the study requests of a node."""
    return max((asked.gpus // asked.nodes for asked in study.file.resources.values()), default=0)


def check_gpus(study: Study, run: Callable[..., str | None] = output_of) -> Iterator[Finding]:
    """Check driver, number and memory of the GPUs; on a cluster's login node there may be none."""
    wanted = gpus_wanted(study)
    query = "--query-gpu=name,memory.total,driver_version"
    listed = run("nvidia-smi", query, "--format=csv,noheader,nounits")
    if listed is None:
        level = "ok" if not wanted else "warning" if run("sinfo", "--version") else "problem"
        hint = " (the cluster's nodes may have them)" if level == "warning" else ""
        yield Finding(level, "GPUs", f"no NVIDIA driver answers; a job requests {wanted}{hint}")
        return
    cards = [line.split(", ") for line in listed.splitlines() if line.strip()]
    smallest = min(float(memory) for _, memory, _ in cards) / 1024
    level = "ok" if len(cards) >= wanted else "problem"
    yield Finding(
        level, "GPUs", f"{len(cards)} x {cards[0][0]}, a job requests {wanted}; driver {cards[0][2]}"
    )
    yield from check_memory(study, smallest)


def check_memory(study: Study, card: float) -> Iterator[Finding]:
    """Check what each stage needs of a GPU's memory against the GiB of the smallest."""
    needs = most_demanding(needs_of(study), card).values()
    tight = [f"{need.stage}, {need.model}: {why}" for need in needs if (why := need.problem(card))]
    if tight:
        text = f"study {study.name} does not fit: {'; '.join(tight)} (computed, see `make plan`)"
        yield Finding("problem", "GPU memory", text)
    elif needs:
        most = max(needs, key=lambda need: need.size(card))
        where = f"{most.stage}, {most.model}; computed"
        text = f"{card:.0f} GiB on the smallest, at most {most.size(card):.0f} needed ({where})"
        yield Finding("ok", "GPU memory", text)


def sources_of(study: Study) -> dict[str, dict]:
    """Return name -> source of every data file that the study reads."""
    found = data_sources(study, Paths(study.name))
    return {name: source for name, _, _, source in found if source["source"] == "hub"}


def check_data(study: Study) -> Iterator[Finding]:
    """Check the local data files by reading and verifying each, and whether the hosts of the others answer."""
    sources = sources_of(study)
    if not sources:
        yield Finding("ok", "data", "generated by the study itself")
        return
    if study.file.data_root:
        os.environ.setdefault(DATA_ROOT, study.file.data_root)
    remote = []
    for name, source in sources.items():
        try:
            if local_file(source) is None:
                remote.append(source)
                continue
            count = len(read_hub_problems(name, source))
        except (ProblemError, PackageMissing) as error:
            yield Finding("problem", "data", f"{name}: {error}")
        else:
            yield Finding(
                "ok", "data", f"{name}: {count} problems in {source['local'] or source['data_files']}"
            )
    yield from check_hosts(remote)


def check_hosts(sources: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Check whether the hub and the hosts of all addresses among the sources answer."""
    for host in sorted(set(map(host_of, sources))):
        answer = answers(host)
        hint = (
            "" if answer else f"; alternatively, put the files into a folder and set data_root or {DATA_ROOT}"
        )
        text = f"{host} {'answers' if answer else 'does not answer'}{hint}"
        yield Finding("ok" if answer else "problem", "data", text)


def host_of(source: Mapping[str, Any]) -> str:
    """Return the address of the host that has a source's file: the hub, or another one."""
    from huggingface_hub import constants

    address = re.match(r"\w+://[^/]+", source["data_files"] or "")
    return address.group() if address else constants.ENDPOINT


def check_bases(study: Study) -> Iterator[Finding]:
    """Check whether each base of the hub is fetched already, in its folder, or in the hub's cache; the hub must have the others."""
    from huggingface_hub import constants

    hub = cache(lambda: not constants.HF_HUB_OFFLINE and answers(constants.ENDPOINT))
    paths, done, pins = Paths(study.name), done_jobs(study), read_pins(study.lock)
    for name in study.bases("hub"):
        spec = study.base(name)
        if paths.manifest(paths.base(name)) in done:
            yield Finding("ok", "bases", f"{name}: fetched")
            continue
        try:
            commit, folder = present(spec, pins.get(name_of(spec)) or spec.revision)
        except BaseMissing as error:
            if spec.path or not hub():
                yield Finding("problem", "bases", f"{name}: {error}")
            else:
                yield Finding("ok", "bases", f"{name}: to be fetched; {constants.ENDPOINT} answers")
        else:
            where = f"in {folder}" if spec.path else "cached"
            yield Finding("ok", "bases", f"{name}: {where}, commit {commit or 'not known'}")


def answers(host: str) -> bool:
    """Return whether a host answers at all (an error status is an answer)."""
    try:
        with urllib.request.urlopen(urllib.request.Request(host, method="HEAD"), timeout=TIMEOUT):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def check_disk(study: Study, free: int | None = None) -> Iterator[Finding]:
    """Check the free disk space against what the study still has to write, and the largest resume folder beside it, or its `disk_gb`."""
    free = shutil.disk_usage(".").free if free is None else free
    done = done_jobs(study)
    left = {name: cost for name, cost in costs_of(study, Assumptions()).items() if name not in done}
    resume = max((cost.resume for cost in left.values()), default=0)
    needed = (sum(cost.disk for cost in left.values()) + resume) / 1e9
    if study.file.disk_gb and left:
        needed = min(needed, kept_gb(left) + room_gb(study, costs_of(study, Assumptions())))
    text = f"{number(free / 1e9)} GB free, the study will take about {number(needed)} GB"
    yield Finding("ok" if free > needed * 1e9 else "problem", "disk", text)


def check_slurm(study: Study, run: Callable[..., str | None] = output_of) -> Iterator[Finding]:
    """Check whether Slurm answers; it is needed only for `--profile slurm`."""
    version = run("sinfo", "--version")
    several = [stage for stage, asked in study.file.resources.items() if asked.nodes > 1]
    if version is None and several:
        yield Finding("problem", "Slurm", f"sinfo not found; resources.{several[0]} asks for several nodes")
        return
    if version is None:
        yield Finding("warning", "Slurm", "sinfo not found; needed only for `snakemake --profile slurm`")
        return
    partitions = run("sinfo", "--noheader", "--format=%P %a %D %G")
    level = "ok" if partitions else "problem"
    shown = "; ".join(partitions.splitlines()[:5]) if partitions else "the controller does not answer"
    yield Finding(level, "Slurm", f"{version}: {shown}")


def check_cache(study: Study) -> Iterator[Finding]:
    """Check whether Snakemake and matplotlib can write their caches, which are below HOME by default."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = next(part for part in (folder, *folder.parents) if part.exists())
    if os.access(place, os.W_OK):
        yield Finding("ok", "cache", f"{folder} is writable")
    else:
        yield Finding(
            "problem", "cache", f"{folder} is not writable: set XDG_CACHE_HOME to a writable folder"
        )


CHECKS = (
    check_versions,
    check_attention,
    check_gpus,
    check_bases,
    check_data,
    check_disk,
    check_slurm,
    check_cache,
)


def examine(study: Study) -> list[Finding]:
    """Return the findings of all checks."""
    return [finding for check in CHECKS for finding in check(study)]


@refusing
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the findings and return the exit status: 1 if one of them is a problem."""
    parser = argparse.ArgumentParser(prog="python -m selfdistill.commands.doctor", description=__doc__)
    parser.add_argument("--study", default="paper", help="name of the study, or path of its file")
    study = study_from_config({"study": parser.parse_args(arguments).study})
    findings = examine(study)
    print(f"study {study.name}:")
    print("\n".join(map(str, findings)))
    problems = sum(finding.level == "problem" for finding in findings)
    print(f"{problems} problem{'' if problems == 1 else 's'}")
    return int(problems > 0)


if __name__ == "__main__":
    raise SystemExit(main())
