"""Data files: both layouts of the authors' files, the DAPO rewriting, and every way in which a file can be wrong."""

import gzip
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pandas
import pyarrow.parquet
import pytest

from selfdistill.problems.sources import (
    DAPO_HEAD,
    DAPO_TAIL,
    DATA_ROOT,
    SourceError,
    missing_from,
    read_hub_problems,
    strip_dapo_instructions,
)
from selfdistill.study.load import load_study

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from peak import peak_growth  # noqa: E402

BOXED = "\nPlease reason step by step, and put your final answer within \\boxed{}."
PAPER = load_study(ROOT / "config" / "paper.yaml")
FILES = Path(os.environ.get(DATA_ROOT, "data"))
with_files = pytest.mark.skipif(
    not (FILES / "aime24.parquet").is_file(), reason=f"the authors' data files are not in {DATA_ROOT}"
)
ROWS = [("one", "1"), ("two", "2"), ("one", "1"), ("three", "\\frac{3}{1}")]
SOURCE = {
    "repo_id": "parquet", "split": "train", "local": "rows.parquet",
    "question": "prompt.0.content", "answer": "reward_model.ground_truth",
}  # fmt: skip


def nested(question: str, answer: str) -> dict:
    """A row as the authors' training files have it."""
    return {
        "prompt": [{"content": question, "role": "user"}],
        "reward_model": {"ground_truth": answer, "style": "rule"},
    }


def as_text(row: dict) -> dict:
    """The same row as half of the authors' evaluation files have it: columns of JSON text."""
    return {name: json.dumps(value) for name, value in row.items()}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data root with one file of four rows."""
    pandas.DataFrame([nested(*row) for row in ROWS]).to_parquet(tmp_path / "rows.parquet")
    monkeypatch.setenv(DATA_ROOT, str(tmp_path))
    return tmp_path


def test_nested_columns_and_json_text_give_the_same_problems(root):
    expected = read_hub_problems("set", SOURCE)
    pandas.DataFrame([as_text(nested(*row)) for row in ROWS]).to_parquet(root / "rows.parquet")
    assert read_hub_problems("set", SOURCE) == expected
    assert [(p.question, p.answers) for p in expected] == [
        ("one", ("1",)), ("two", ("2",)), ("three", ("\\frac{3}{1}",)),
    ]  # fmt: skip
    assert [p.problem_id for p in expected] == ["set-0", "set-1", "set-3"]
    assert len(read_hub_problems("set", SOURCE, 2)) == 2


def test_json_lines_and_a_json_list_are_read(root):
    rows = [nested(*row) for row in ROWS]
    (root / "rows.json").write_text("\n".join(map(json.dumps, rows)))
    lines = read_hub_problems("set", SOURCE | {"local": "rows.json"})
    (root / "rows.json").write_text(json.dumps(rows))
    assert read_hub_problems("set", SOURCE | {"local": "rows.json"}) == lines
    assert len(lines) == 3


SEPARATORS = ["\u2028", "\u2029", "\x85"]


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_line_separators_inside_a_text_end_no_line(root, mark, end):
    """A JSON text may hold them raw; only a line feed ends a row."""
    rows = [nested(f"one{separator}two", "1") for separator in SEPARATORS]
    text = mark + end.join(json.dumps(row, ensure_ascii=False) for row in rows)
    (root / "rows.jsonl").write_bytes(text.encode())
    found = read_hub_problems("set", SOURCE | {"local": "rows.jsonl"})
    assert [problem.question for problem in found] == [f"one{separator}two" for separator in SEPARATORS]


def test_a_json_list_with_a_byte_order_mark_is_read(root):
    (root / "rows.json").write_text("\ufeff" + json.dumps([nested("one", "1")]))
    assert len(read_hub_problems("set", SOURCE | {"local": "rows.json"})) == 1


def test_a_question_with_two_answers_is_refused_with_both_ids(root):
    pandas.DataFrame([nested(*row) for row in [*ROWS, ("one", "2")]]).to_parquet(root / "rows.parquet")
    with pytest.raises(
        SourceError,
        match=r"rows.parquet: set-0 and set-4 ask the same question with different answers \('1', '2'\)",
    ):
        read_hub_problems("set", SOURCE)


def test_without_a_data_root_a_path_is_read(root, monkeypatch):
    monkeypatch.delenv(DATA_ROOT)
    source = SOURCE | {"data_files": str(root / "rows.parquet"), "suffix": " Box it.", "prefix": "> "}
    assert read_hub_problems("set", source)[0].question == "> one Box it."


def test_instructions_id_and_grading(root):
    rows = [{"q": "How many?\nA: 1\nB: 2", "a": "B", "system": "Choose.", "uuid": "x-1"}]
    (root / "rows.jsonl").write_text(json.dumps(rows[0]))
    source = SOURCE | {
        "local": "rows.jsonl", "question": "q", "answer": "a",
        "instructions": "system", "id": "uuid", "grading": "mcq",
    }  # fmt: skip
    (problem,) = read_hub_problems("chemistry", source)
    assert (problem.question, problem.answers) == ("Choose.\n\nHow many?\nA: 1\nB: 2", ("B",))
    assert (problem.problem_id, problem.grading) == ("x-1", "mcq")


def test_dapo_prompts_are_rewritten_as_the_authors_do(root):
    prompt = (
        f"{DAPO_HEAD} The last line of your response should be of the form Answer: $Answer (without quotes) "
        f"where $Answer is the answer to the problem.\n\nLet $x = 2$.\n\nFind $x^2$.\n\n{DAPO_TAIL}"
    )
    assert strip_dapo_instructions(prompt) == "Let $x = 2$.\n\nFind $x^2$."
    pandas.DataFrame([nested(prompt, "4")]).to_parquet(root / "rows.parquet")
    (problem,) = read_hub_problems("dapo", SOURCE | {"rewrite": "dapo", "suffix": BOXED})
    assert problem.question == f"Let $x = 2$.\n\nFind $x^2$.{BOXED}"


def damaged(root: Path, kind: str) -> dict:
    """Damage the file in one way; the source that is to find it."""
    path = root / "rows.parquet"
    whole = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "one byte changed":
        path.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
        return SOURCE | {"expect": {"sha256": hashlib.sha256(whole).hexdigest()}}
    elif kind == "no parquet":
        path.write_text("<html>404: Not Found</html>")
    elif kind == "empty file":
        path.write_bytes(b"")
    elif kind == "rows are missing":
        return SOURCE | {"expect": {"rows": 5}}
    elif kind == "repeated questions":
        return SOURCE | {"expect": {"rows": 4, "distinct": [4]}}
    elif kind == "outside a range":
        return SOURCE | {"expect": {"distinct": [17000, 18000]}}
    elif kind == "other columns":
        pandas.DataFrame([{"problem": "one", "answer": "1"}]).to_parquet(path)
    elif kind == "empty answer":
        pandas.DataFrame([nested("one", "1"), nested("two", " ")]).to_parquet(path)
    elif kind == "text that is no JSON":
        pandas.DataFrame([{"prompt": "one", "reward_model": "{}"}]).to_parquet(path)
    elif kind == "not the DAPO prompts":
        return SOURCE | {"rewrite": "dapo"}
    elif kind == "cut JSON lines":
        (root / "rows.jsonl").write_text(
            json.dumps(nested(*ROWS[0])) + "\n" + json.dumps(nested(*ROWS[1]))[:20]
        )
        return SOURCE | {"local": "rows.jsonl"}
    elif kind == "unknown kind":
        (root / "rows.csv").write_text("a,b")
        return SOURCE | {"local": "rows.csv"}
    elif kind == "rows without columns":
        (root / "rows.json").write_text("[[1, 2], [3, 4]]")
        return SOURCE | {"local": "rows.json"}
    elif kind == "no row":
        (root / "rows.json").write_text("")
        return SOURCE | {"local": "rows.json"}
    elif kind == "damaged compression":
        whole = bytearray(gzip.compress(json.dumps([nested(*row) for row in ROWS * 99]).encode()))
        whole[14:40] = bytes(26)
        (root / "rows.jsonl.gz").write_bytes(whole)
        return SOURCE | {"local": "rows.jsonl.gz"}
    elif kind == "answer that is a list":
        (root / "rows.json").write_text(json.dumps([nested("one", ["1", "2"])]))
        return SOURCE | {"local": "rows.json"}
    elif kind == "no folder":
        shutil.rmtree(root)
    elif kind == "no local name":
        return SOURCE | {"local": None}
    return SOURCE


DAMAGE = {
    "missing": r"rows.parquet: no such file; the folder holds: nothing",
    "truncated": r"rows.parquet: cannot be read as parquet: ",
    "one byte changed": r"rows.parquet: SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}: corrupted, truncated",
    "no parquet": r"rows.parquet: cannot be read as parquet: ",
    "empty file": r"rows.parquet: cannot be read as parquet: ",
    "rows are missing": r"rows.parquet: 4 rows, expected 5: truncated, or another file",
    "repeated questions": r"rows.parquet: 3 distinct questions, expected 4",
    "outside a range": r"rows.parquet: 3 distinct questions, expected 17000 to 18000",
    "other columns": r"rows.parquet: row 0 has no `prompt.0.content`; columns: problem, answer",
    "empty answer": r"rows.parquet: row 1: `reward_model.ground_truth` is empty",
    "text that is no JSON": r"rows.parquet: row 0 has no `prompt.0.content`",
    "not the DAPO prompts": r"rows.parquet: row 0: question is not wrapped in the DAPO-Math-17k instructions: 'one'",
    "cut JSON lines": r"rows.jsonl: line 2 is not valid JSON .*truncated or damaged",
    "unknown kind": r"rows.csv: unknown kind of file '.csv'; allowed: .parquet, .json, .jsonl, .jsonl.gz",
    "rows without columns": r"rows.json: row 0 is a list, not an object with columns",
    "no row": r"rows.json: holds no row",
    "damaged compression": r"rows.jsonl.gz: cannot be read .*truncated or damaged",
    "answer that is a list": r"rows.json: row 0: `reward_model.ground_truth` is a list, not text: \['1', '2'\]",
    "no folder": r"rows.parquet: the folder .* does not exist \(SELFDISTILL_DATA, or `data_root`\)",
    "no local name": r"parquet: no `local` file is declared, but SELFDISTILL_DATA is set",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_wrong_file_is_named_and_refused(root, kind):
    with pytest.raises(SourceError, match=DAMAGE[kind]):
        read_hub_problems("set", damaged(root, kind))


# ---- the authors' files, where they lie on this machine


@pytest.fixture
def files(monkeypatch):
    """The folder of the authors' files as data root."""
    monkeypatch.setenv(DATA_ROOT, str(FILES))
    return FILES


@with_files
@pytest.mark.parametrize(("name", "count"), [("aime24", 30), ("aime25", 30), ("amc23", 40), ("math500", 500)])
def test_benchmarks_of_the_authors(files, name, count):
    found = read_hub_problems(name, PAPER.benchmark_spec(name))
    assert len(found) == count
    assert all(p.question.endswith(BOXED) and p.grading == "boxed" for p in found)


@with_files
def test_first_answers_are_those_of_the_authors_files(files):
    """Golden: first gold answers of paper.md 9."""
    first = {
        name: read_hub_problems(name, PAPER.benchmark_spec(name))[0].answers
        for name in PAPER.file.benchmarks.names
    }
    assert first == {
        "aime24": ("540",), "aime25": ("70",), "amc23": ("27",), "math500": (r"\left( 3, \frac{\pi}{2} \right)",),
    }  # fmt: skip


@with_files
def test_coverage_subsets_of_the_authors_are_nested(files):
    subsets = [read_hub_problems("dapo", PAPER.subset_spec("dapo", size)) for size in (1, 8, 64, 128, 512)]
    assert [len(subset) for subset in subsets] == [1, 8, 64, 128, 511]
    for smaller, larger in zip(subsets, subsets[1:], strict=False):
        assert missing_from(smaller, larger) == 0
        assert {p.problem_id for p in smaller} < {p.problem_id for p in larger}
    whole = {p.question for p in subsets[-1]}
    for name in PAPER.file.benchmarks.names:
        assert not whole & {p.question for p in read_hub_problems(name, PAPER.benchmark_spec(name))}


@with_files
def test_chemistry_is_multiple_choice(files):
    found = read_hub_problems("chemistry", PAPER.dataset_spec("chemistry"))
    assert len(found) == 1890
    assert {p.grading for p in found} == {"mcq"}
    assert {answer for p in found for answer in p.answers} == set("ABCD")
    assert all("<answer>" in p.question and "\nD: " in p.question for p in found)


@with_files
@pytest.mark.parametrize("cut", [1, 4096])
def test_a_cut_copy_of_an_authors_file_is_refused(tmp_path, monkeypatch, cut):
    shutil.copy(FILES / "aime24.parquet", tmp_path)
    path = tmp_path / "aime24.parquet"
    path.write_bytes(path.read_bytes()[:-cut])
    monkeypatch.setenv(DATA_ROOT, str(tmp_path))
    with pytest.raises(SourceError, match=r"aime24.parquet: SHA-256"):
        read_hub_problems("aime24", PAPER.benchmark_spec("aime24"))


def test_a_large_file_is_read_a_batch_at_a_time(tmp_path, monkeypatch):
    """As the hub's file: few problems, each repeated many times, with columns that nothing needs."""
    monkeypatch.setenv(DATA_ROOT, str(tmp_path))
    table = pyarrow.Table.from_pylist([nested(f"{i}: " + "why? " * 400, str(i)) for i in range(1000)])
    with pyarrow.parquet.ParquetWriter(tmp_path / "rows.parquet", table.schema) as writer:
        for _ in range(60):
            writer.write_table(table)
    assert peak_growth("selfdistill.problems.sources:read_hub_problems", "set", SOURCE) < 150
    assert [problem.answers for problem in read_hub_problems("set", SOURCE)] == [
        (str(i),) for i in range(1000)
    ]


def test_a_file_that_is_cut_behind_the_problems_asked_for_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_ROOT, str(tmp_path))
    path = tmp_path / "rows.parquet"
    frame = pandas.DataFrame([nested(f"question {i}", str(i)) for i in range(50_000)])
    frame.to_parquet(path, row_group_size=10_000, compression=None)
    data = bytearray(path.read_bytes())
    data[-300_000:-30_000] = b"\xff" * 270_000
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"rows\.parquet"):
        read_hub_problems("set", SOURCE, 5)
