"""docs/cluster.md followed line by line, from a clone to the report, on a cluster without a network (`make test-slurm`).

The commands are those of the page's code blocks, in the order in which a reader needs them. A study `walk` takes the place of
`paper`: random weights of a base in a hub cache, problems in a data file, GRPO as in config/smoke_random.yaml. What needs
a GPU's packages is rehearsed by a dry run. A command that stands on the page and is not known here fails the test.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandas
import pytest
import yaml

from selfdistill.organism.chains import make_problem_set
from selfdistill.organism.random_weights import random_model
from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.study.models import RandomBase

from .test_slurm import QUICK

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs/cluster.md").read_text(encoding="utf-8")
ORDER = ("1. Set up", "2. Ask", "4. Compute nodes", "5. Run", "7. The report", "The ladder")
LIMIT = 900  # seconds for one command, on a busy machine
COMMIT = "c" * 40
REPO_ID = "walk/tiny-1M"

WHOLE = ".venv/bin/snakemake --profile slurm"
INPUTS = ".venv/bin/snakemake --cores 4 inputs --config study=paper"
"""The commands that run the study, and fetch what it needs."""
SKIPPED = {
    "git clone ": "the fixture clones",
    "make setup-gpu": "installs packages",
    "apptainer build": "needs apptainer",
    ".venv/bin/snakemake --profile slurm --sdm apptainer": "needs apptainer",
    "tmux": "a terminal",
}
"""Beginning of a command that is not run: why."""
REHEARSED = ("study=smoke_random", "study=smoke_gpu", "study=two_steps", "results/paper/")
"""Parts of the commands whose study needs vLLM and a GPU: a dry run."""


def commands_of(page: str) -> dict[str, list[str]]:
    """Heading -> commands in the code blocks below it, without comments; `make` commands of the text after them."""
    found = {}
    for section in page.split("\n## ")[1:]:
        blocks = re.findall(r"^ *```\n(.*?)^ *```$", section, re.MULTILINE | re.DOTALL)
        lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
        text = re.sub(r"^ *```\n.*?^ *```$", "", section, flags=re.MULTILINE | re.DOTALL)
        told = re.findall(r"`(make (?:status|publish) STUDY=paper)`", text.replace("\n", " "))
        told += re.findall(r"`(\.venv/bin/snakemake [^`]*--report out\.html)`", text)
        found[section.splitlines()[0]] = [*filter(None, lines), *told]
    return found


@dataclass
class Walk:
    """The clone in which the page is followed, and the output of each command."""

    root: Path
    environment: dict[str, str]
    outputs: dict[str, str]

    def command(self, line: str) -> str:
        """A line of the page for the study `walk`, as it is run or rehearsed."""
        if "snakemake" in line and any(part in line for part in REHEARSED):
            return line.replace("--profile slurm", "--profile slurm -n")
        for name in ("=paper", "--study paper", "--study smoke_gpu"):
            line = line.replace(name, name.replace("paper", "walk").replace("smoke_gpu", "walk"))
        if "--profile slurm" in line:
            return " ".join([line, *QUICK, "--config study=walk"])
        return line

    def run(self, line: str) -> None:
        """Run a line in the clone with a shell; it must succeed."""
        done = subprocess.run(
            ["bash", "-c", self.command(line)],
            cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=LIMIT,
        )  # fmt: skip
        self.outputs[line] = done.stdout + done.stderr
        assert done.returncode == 0, f"{self.command(line)}\n{self.outputs[line]}"


def clone(root: Path) -> None:
    """Clone the repository with what is not committed yet, and the environment of this checkout, which is up to date."""
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, root], check=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        source, target = REPOSITORY / name, root / name
        if source.is_file() and not source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    (root / ".venv").symlink_to(REPOSITORY / ".venv")
    made = (root / ".venv/.stamp").stat().st_mtime_ns
    for name in ("pyproject.toml", "envs/requirements-cpu.txt"):
        os.utime(root / name, ns=(made - 1, made - 1))  # `make setup` has nothing to do


def save_base(home: Path) -> None:
    """Put random weights into a hub cache, as `hf download` does: links into a folder of blobs."""
    tokenizer = build_tokenizer("qwen3")
    sizes = dict(hidden_size=32, layers=1, heads=2, key_heads=1, head_dim=16, intermediate_size=48)
    spec = RandomBase(
        source="random", template="qwen3", vocabulary_size=512, positions=4096, response_tokens=24, **sizes
    )
    repository = home / "hub" / f"models--{REPO_ID.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    random_model(spec, tokenizer, 0).save_pretrained(snapshot)
    tokenizer.save_pretrained(snapshot)
    for name in ("blobs", "refs"):
        (repository / name).mkdir()
    for file in [*snapshot.iterdir()]:
        blob = repository / "blobs" / sha256(file.read_bytes()).hexdigest()
        file.rename(blob)
        file.symlink_to(f"../../blobs/{blob.name}")
    (repository / "refs/main").write_text(COMMIT)


def save_data(folder: Path) -> None:
    """Write the data files of the study: chains of operations, as a hub's file."""
    folder.mkdir()
    for name, seed, count in (("train", 0, 64), ("test", 1, 16)):
        problems = make_problem_set({"d2": 0.3, "d3": 0.7}, count, seed, "train", "chain")
        rows = [{"question": problem.question, "answer": problem.answers[0]} for problem in problems]
        pandas.DataFrame(rows).to_parquet(folder / f"{name}.parquet")


def source(name: str, **fields) -> dict:
    """A data file at an address that nobody answers."""
    address = f"https://walk.invalid/{name}.parquet"
    found = {"source": "hub", "repo_id": "parquet", "data_files": address, "local": f"{name}.parquet"}
    return found | {"split": "train", "question": "question", "answer": "answer"} | fields


def write_study(config: Path) -> None:
    """config/walk.yaml: GRPO as in smoke_random, at a size that a CPU runs, with a base and data from elsewhere."""
    catalogue = yaml.safe_load((config / "models.yaml").read_text())
    catalogue["bases"]["walk"] = {"source": "hub", "repo_id": REPO_ID, "template": "qwen3"}
    catalogue["models"]["walk"] = catalogue["models"]["random-1.7b"] | {"base": "walk", "role": "deepseek"}
    (config / "models.yaml").write_text(yaml.safe_dump(catalogue))
    benchmarks = yaml.safe_load((config / "benchmarks.yaml").read_text())
    benchmarks["benchmarks"]["walk"] = source("test", label="walk", ood=False)
    (config / "benchmarks.yaml").write_text(yaml.safe_dump(benchmarks))
    text = (config / "smoke_random.yaml").read_text()
    text = re.sub(r"max_new_tokens: \d+", "max_new_tokens: 96", text).replace("random-1.7b", "walk")
    text = re.sub(r"threads: 8, mem_mb: \d+", "mem_mb: 3000", text).replace("mem_mb: 16000", "mem_mb: 3000")
    study = yaml.safe_load(text) | {"study": "walk", "title": "Walk", "backend": "transformers"}
    study["benchmarks"] |= {"names": ["walk"], "headline": ["walk"]}
    study["datasets"] = {"chain": source("train", problems=64, coverages=[8, "full"])}
    study["runs"] = [run for run in study["runs"] if run["method"] == "grpo"]
    study["figures"], study["tables"] = {"figure3": ["on-policy"]}, {"main-results": []}
    (config / "walk.yaml").write_text(yaml.safe_dump(study))


def has_network() -> bool:
    """Whether this process has another network device than the loopback."""
    devices = Path("/proc/net/dev").read_text().splitlines()[2:]
    return any(not line.strip().startswith("lo:") for line in devices)


@pytest.fixture(scope="module")
def walk(tmp_path_factory) -> Walk:
    """Follow the page to its end."""
    if has_network():
        pytest.skip("network namespaces are not permitted here, so the cluster has a network")
    folder = tmp_path_factory.mktemp("walk")
    root = folder / "study"
    clone(root)
    save_base(folder / "hub")
    save_data(folder / "data")
    write_study(root / "config")
    environment = {
        "PYTHONPATH": str(root / "src"),  # the environment is that of another checkout
        "OMP_NUM_THREADS": "1",
        "PIP_NO_INDEX": "1",  # and nothing is installed into it
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_OFFLINE": "1",
        "SELFDISTILL_DATA": str(folder / "data"),
        "SELFDISTILL_OFFLINE_NODES": "1",
        "SELFDISTILL_PARTITION": "cpu",
        "SELFDISTILL_GPU_PARTITION": "gpu",
    }
    done = Walk(root, os.environ | environment, {})
    page = commands_of(PAGE)
    for heading in ORDER:
        (section,) = [name for name in page if name.startswith(heading)]
        for line in page[section]:
            if not line.startswith(tuple(SKIPPED)):
                done.run(line)
    return done


def test_every_section_with_commands_is_followed():
    page = commands_of(PAGE)
    assert not [name for name, lines in page.items() if lines and not name.startswith(ORDER)]
    lines = [line for lines in page.values() for line in lines]
    assert WHOLE in lines
    for part in (*SKIPPED, *REHEARSED, "make status", "make publish", INPUTS, "--report"):
        assert any(part in line for line in lines), f"{part}: no longer on the page"


def output_of(walk: Walk, part: str) -> str:
    """The output of the only command with this part."""
    (line,) = [line for line in walk.outputs if part in line]
    return walk.outputs[line]


def test_before_the_first_job_the_doctor_finds_everything(walk):
    output = output_of(walk, "make doctor")
    assert f"walk: cached, commit {COMMIT}" in output
    assert "64 problems in train.parquet" in output and "0 problems" in output


def test_what_fetches_runs_on_the_login_node_and_the_rest_on_the_cluster(walk):
    fetched, whole = (
        set(re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", walk.outputs[line], re.MULTILINE))
        for line in (INPUTS, WHOLE)
    )
    assert fetched == {"fetch_base", "build_problems", "build_coverage_subset", "inputs"}
    assert {"train_on_policy", "evaluate", "estimate", "make_report"} <= whole and not fetched & whole
    assert "has been submitted with SLURM jobid" not in walk.outputs[INPUTS]
    assert walk.outputs[WHOLE].count("has been submitted with SLURM jobid") >= 6


def test_the_study_is_held_to_what_it_found(walk):
    pins = yaml.safe_load((walk.root / "config/lock/walk.yaml").read_text())
    files = {f"https://walk.invalid/{name}.parquet" for name in ("train", "test")}
    assert pins.keys() == {f"{REPO_ID}@main", *files} and pins[f"{REPO_ID}@main"] == COMMIT


def test_the_page_leads_to_the_report(walk):
    results = walk.root / "results/walk"
    assert (results / "report.html").exists() and (walk.root / "out.html").exists()
    assert (walk.root / "docs/results/walk/claims.md").exists()
    assert re.search(r"(\d+) of \1 jobs done", output_of(walk, "make status"))
    assert "Nothing to be done" in output_of(walk, "--profile slurm figure3")
    assert (results / "figures/figure3.png").exists()
