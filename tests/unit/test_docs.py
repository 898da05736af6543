"""The documentation against what it describes: records, tables, links, commands, and the files of the forge."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from selfdistill.records import schemas
from selfdistill.vocabulary.runs import RUN_FIELDS
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *(ROOT / name / "README.md" for name in ("config", "notebooks", "benchmarks")),
        *ROOT.glob("benchmarks/gpu/*.md"),
    ]
)
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
RECORDS = ("samples", "training", "rollouts", "positions", "richness", "diagnosis", "off_policy", "problems")


def described(heading):
    """The columns that docs/records.md describes under a heading."""
    text = (ROOT / "docs/records.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    names = re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)
    assert len(names) == len(set(names))
    return [
        name.replace("WORD", word) for name in names for word in (EPISTEMIC_WORDS if "WORD" in name else [""])
    ]


@pytest.mark.parametrize("record", RECORDS)
def test_every_column_of_a_record_is_described_and_no_other(record):
    columns = getattr(schemas, f"{record}_schema")().names
    own = [name for name in columns if name not in RUN_FIELDS] if RUN_FIELDS[0] in columns else columns
    assert sorted(described(record)) == sorted(own)


def test_every_schema_and_run_field_is_described():
    assert {name for name in dir(schemas) if name.endswith("_schema")} == {
        f"{name}_schema" for name in RECORDS
    }
    assert described("Run fields") == list(RUN_FIELDS)


def test_tables_of_the_experiments_are_those_of_the_published_results():
    done = subprocess.run(
        [sys.executable, ROOT / "docs/tables.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_the_site_holds_every_file_that_its_pages_link_to():
    """`make docs` refuses a link out of what it is given."""
    held = re.search(r"^DOCS_PAGES := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    outside = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if (page.parent / target).resolve().relative_to(ROOT).parts[0] not in held[1].split()
    ]
    assert outside == []


def test_the_site_lists_every_page():
    """`make docs` refuses a page that no list leads to."""
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = (str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))
    assert [page for page in pages if page not in listed] == []


def test_every_experiment_of_the_mini_study_has_a_page():
    content = yaml.safe_load((ROOT / "config/mini.yaml").read_text(encoding="utf-8"))
    experiments = {entry["experiment"] for entry in content["runs"]} | {"section-3"}
    pages = {page.stem for page in ROOT.glob("docs/experiments/*.md")} - {"README"}
    assert pages == experiments


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_commands_of_the_pages_are_targets_of_make():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "lab-log.md")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", text)) | set(
        re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)
    )
    assert named
    assert named - targets == set()


def test_modules_that_are_run_exist():
    named = set()
    for page in PAGES:
        named |= set(re.findall(r"python -m (selfdistill[\w.]+)", page.read_text(encoding="utf-8")))
    assert named
    assert [name for name in named if not (ROOT / "src" / f"{name.replace('.', '/')}.py").exists()] == []


def test_rules_that_are_named_exist():
    rules = set()
    for path in ROOT.glob("rules/*.smk"):
        rules |= set(re.findall(r"^rule (\w+):", path.read_text(encoding="utf-8"), re.MULTILINE))
    text = "\n".join(
        path.read_text(encoding="utf-8") for path in ROOT.glob("docs/**/*.md") if path.name != "lab-log.md"
    )
    named = set(re.findall(r"[Rr]ule `(\w+)`", text)) | set(
        re.findall(r"bin/snakemake --cores \d+ (\w+)", text)
    )
    assert "inputs" in named
    assert named - rules == set()


def test_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 700


def test_a_broken_link_ends_make_docs():
    """Strict mode fails on warnings, which `mkdocs build --quiet` does not issue at all."""
    (command,) = re.findall("mkdocs build.*", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert command == "mkdocs build --strict"


FORGE = [
    ".pre-commit-config.yaml",
    "CITATION.cff",
    "mkdocs.yml",
    *(str(path.relative_to(ROOT)) for path in ROOT.glob(".github/workflows/*.yml")),
]


@pytest.mark.parametrize("name", FORGE)
def test_file_of_the_forge_is_yaml(name):
    assert isinstance(yaml.safe_load((ROOT / name).read_text(encoding="utf-8")), dict)


def test_forge_runs_the_targets_of_make():
    workflow = yaml.safe_load((ROOT / ".github/workflows/checks.yml").read_text(encoding="utf-8"))
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert {"make lint", "make test", "make docs"} <= set(steps)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert versions == ["3.11", "3.12", "3.13"]
    assert f'requires-python = ">={versions[0]}"' in project
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [hook["entry"] for repository in hooks["repos"] for hook in repository["hooks"]] == ["make lint"]
