"""The doctor: what it says of versions, GPUs, data, disk and Slurm, with machines that are made up."""

from pathlib import Path

import pandas
import pytest

from selfdistill.commands import doctor
from selfdistill.commands.doctor import check_cache
from selfdistill.problems.sources import DATA_ROOT
from selfdistill.study.load import load_study

ROOT = Path(__file__).parents[2]
PAPER = load_study(ROOT / "config" / "paper.yaml")
MINI = load_study(ROOT / "config" / "mini.yaml")


def machine(**commands):
    """A machine on which these commands answer."""
    return lambda *command: commands.get(command[0].replace("-", "_"))


def only(findings):
    (finding,) = findings
    return finding.level, finding.text


@pytest.fixture(autouse=True)
def root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_versions_against_the_pins():
    pins = dict(
        line.split("==")
        for line in Path("envs/requirements-gpu.txt").read_text().splitlines()
        if "==" in line
    )
    assert only(doctor.check_versions(PAPER, pins.get))[0] == "ok"
    assert only(doctor.check_versions(PAPER, lambda name: pins[name] + "+cu130"))[0] == "ok"
    level, text = only(doctor.check_versions(PAPER, (pins | {"trl": "1.15.0", "vllm": None}).get))
    assert level == "problem"
    assert "trl 1.15.0 (pinned 1.16.0)" in text and "vllm missing" in text


FOUR = "\n".join(["NVIDIA H100 80GB HBM3, 81559, 580.1"] * 4)


@pytest.mark.parametrize(
    ("study", "answers", "levels", "text"),
    [
        (PAPER, {"nvidia_smi": FOUR}, ["ok", "ok"], "4 x NVIDIA H100 80GB HBM3, a job asks for 4"),
        (PAPER, {"nvidia_smi": FOUR.splitlines()[0]}, ["problem", "ok"], "1 x NVIDIA H100"),
        (PAPER, {"nvidia_smi": FOUR.replace("81559", "40960")}, ["ok", "warning"], "4 x"),
        (PAPER, {"sinfo": "slurm 22.05"}, ["warning"], "may be on the cluster's nodes"),
        (PAPER, {}, ["problem"], "no NVIDIA driver answers; a job asks for 4"),
        (MINI, {}, ["ok"], "a job asks for 0"),
    ],
)
def test_gpus(study, answers, levels, text):
    findings = list(doctor.check_gpus(study, machine(**answers)))
    assert [finding.level for finding in findings] == levels
    assert text in findings[0].text


def test_slurm():
    assert only(doctor.check_slurm(PAPER, machine())) == (
        "warning", "no sinfo; needed only for `snakemake --profile slurm`",
    )  # fmt: skip
    assert only(doctor.check_slurm(PAPER, machine(sinfo="slurm 22.05.8")))[0] == "ok"
    silent = lambda *command: "slurm 22.05.8" if command[1:] == ("--version",) else None  # noqa: E731
    assert only(doctor.check_slurm(PAPER, silent)) == (
        "problem",
        "slurm 22.05.8: the controller does not answer",
    )


def test_disk():
    assert only(doctor.check_disk(PAPER, 10**14))[0] == "ok"
    level, text = only(doctor.check_disk(PAPER, 10**9))
    assert level == "problem" and text.startswith("1 GB free, the study will write about 9,")


def test_data_of_the_mini_study_is_made_by_itself():
    assert only(doctor.check_data(MINI)) == ("ok", "made by the study itself")


def test_local_data_files_are_read_and_verified(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_ROOT, str(tmp_path))
    pandas.DataFrame([{"prompt": "x"}]).to_parquet(tmp_path / "aime24.parquet")
    findings = list(doctor.check_data(PAPER))
    assert len(findings) == 12, "five benchmarks, two training sets, five subsets"
    assert {finding.level for finding in findings} == {"problem"}
    assert "aime24: " in findings[0].text and "SHA-256" in findings[0].text
    assert "no such file; the folder holds: aime24.parquet" in findings[1].text


def test_hosts_are_asked_without_a_data_root(monkeypatch):
    monkeypatch.delenv(DATA_ROOT, raising=False)
    monkeypatch.setattr(doctor, "answers", lambda host: "github" in host)
    findings = list(doctor.check_data(PAPER))
    assert [(f.level, f.text.partition(";")[0]) for f in findings] == [
        ("problem", "https://huggingface.co does not answer"),
        ("ok", "https://raw.githubusercontent.com answers"),
    ]
    assert DATA_ROOT in findings[0].text


def test_a_problem_ends_the_call_with_one(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "CHECKS", (lambda study: [doctor.Finding("problem", "disk", "full")],))
    assert doctor.main(["--study", "mini"]) == 1
    assert "1 problem" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "CHECKS", (lambda study: [doctor.Finding("warning", "Slurm", "none")],))
    assert doctor.main(["--study", "mini"]) == 0


def test_a_cache_that_cannot_be_written_names_the_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "later"))
    (found,) = check_cache(None)
    assert found.level == "ok"
    monkeypatch.setattr("os.access", lambda path, mode: False)
    (found,) = check_cache(None)
    assert (found.level, "set XDG_CACHE_HOME" in found.text) == ("problem", True)
