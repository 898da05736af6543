"""What a killed evaluation or section 3 has finished is not generated again, and the result is the same to the last bit."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from test_section_3 import ScriptedGenerator, problems

from selfdistill.generation.protocol import Sampling
from selfdistill.records.files import write_table
from selfdistill.records.parts import Parts
from selfdistill.records.schemas import samples_schema
from selfdistill.sampling import evaluation
from selfdistill.sampling.evaluation import VLLM_CHUNK, chunks_of, evaluate_checkpoint
from selfdistill.sampling.section_3 import run_section_3

FIELDS = {
    **{"study": "test", "model": "m", "method": "grpo", "context": "none", "teacher": "none"},
    **{"dataset": "chain", "coverage": "full", "variant": "default", "replicate": 0, "seed": 0},
}


class Killed(BaseException):
    """Stands in for SIGKILL: nothing may catch it."""


class Dying(ScriptedGenerator):
    """A scripted generator that dies in its call number `dies` (0-based) and notes the calls that it answers."""

    def __init__(self, right: dict[str, int], dies: int | None = None) -> None:
        super().__init__(right)
        self.dies, self.calls = dies, []

    def generate(self, user_turns, samples, sampling, seed):
        if self.dies == len(self.calls):
            raise Killed
        self.calls.append((tuple(user_turns), seed))
        return super().generate(user_turns, samples, sampling, seed)


def test_a_part_is_made_once(tmp_path):
    parts, made = Parts(tmp_path), []

    def make():
        made.append(1)
        return pd.DataFrame({"n": [1, 2], "text": ["a", None], "right": [True, False]})

    first = parts.get("longer/0", make)
    pd.testing.assert_frame_equal(first, Parts(tmp_path).get("longer/0", make))
    assert len(made) == 1
    parts.get("longer/128", make)
    assert len(made) == 2


def test_a_part_that_was_cut_is_made_again(tmp_path):
    frame = pd.DataFrame({"n": [1]})
    Parts(tmp_path).get("a", lambda: frame)
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:40])
    pd.testing.assert_frame_equal(Parts(tmp_path).get("a", lambda: frame), frame)
    (tmp_path / "a.parquet").write_bytes(b"")
    pd.testing.assert_frame_equal(Parts(tmp_path).get("a", lambda: frame), frame)


def test_a_kill_while_a_part_is_made_leaves_nothing(tmp_path):
    def dies():
        raise Killed

    with pytest.raises(Killed):
        Parts(tmp_path).get("a", dies)
    assert not list(tmp_path.rglob("*"))


def evaluated(monkeypatch, folder: Path | None, dies: int | None = None, backend: str = "transformers"):
    """(samples or None if killed, calls answered, checkpoints loaded) of a checkpoint on two benchmarks."""
    pool = problems(6)
    generator, loaded = Dying({p.question: i % 3 for i, p in enumerate(pool)}, dies), []

    def load(folder, thinking, backend, base):
        assert base is None  # only an intervention has one
        loaded.append(folder.name)
        return generator

    monkeypatch.setattr(evaluation, "load_generator", load)
    try:
        frame = evaluate_checkpoint(
            step=2,
            folder=Path("step-2"),
            benchmarks={"shorter": pool[:2], "longer": pool[1:]},
            thinking="none",
            template="r1",
            samples=2,
            sampling=Sampling(),
            fields=FIELDS,
            seed=0,
            backend=backend,
            parts=Parts(folder),
        )
    except Killed:
        frame = None
    return frame, generator.calls, loaded


@pytest.mark.parametrize("dies", [0, 1])
@pytest.mark.parametrize("backend", ["transformers", "vllm"])
def test_a_killed_evaluation_generates_only_what_is_missing(monkeypatch, tmp_path, backend, dies):
    monkeypatch.setattr(evaluation, "VLLM_CHUNK", 2)
    whole, calls, _ = evaluated(monkeypatch, None, backend=backend)
    assert len(calls) == (2 if backend == "transformers" else 1 + 3)
    killed, done, _ = evaluated(monkeypatch, tmp_path / "parts", dies, backend)
    assert killed is None and len(done) == dies
    resumed, rest, loaded = evaluated(monkeypatch, tmp_path / "parts", backend=backend)
    assert done + rest == calls
    assert loaded == ["step-2"]
    assert_same_file(tmp_path, whole, resumed)
    again, calls, loaded = evaluated(monkeypatch, tmp_path / "parts", backend=backend)
    assert calls == loaded == [], "all parts are finished: the model is not needed"
    assert_same_file(tmp_path, whole, again)


def assert_same_file(folder: Path, left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Both frames give the same bytes as samples."""
    for name, frame in (("left", left), ("right", right)):
        write_table(folder / name, frame, samples_schema())
    assert (folder / "left").read_bytes() == (folder / "right").read_bytes()


def test_only_requests_with_seeds_of_their_own_are_split():
    pool = problems(VLLM_CHUNK + 1)
    assert [(start, len(chunk)) for start, chunk in chunks_of(pool, "transformers")] == [(0, len(pool))]
    assert [(start, len(chunk)) for start, chunk in chunks_of(pool, "vllm")] == [
        (0, VLLM_CHUNK),
        (VLLM_CHUNK, 1),
    ]


SETTINGS = SimpleNamespace(problems=2, samples=4, solve_rate=(1, 2), batch=2, further=[])
RIGHT = {1: 0, 2: 2, 3: 4, 4: 1, 5: 2}


def section_3(folder: Path | None, dies: int | None = None):
    """(frame or None if killed, calls answered) of section 3, which searches two batches and answers in three contexts."""
    pool = problems(len(RIGHT))
    generator = Dying({p.question: RIGHT[i + 1] for i, p in enumerate(pool)}, dies)
    try:
        frame = run_section_3(generator, "r1", pool, SETTINGS, Sampling(), 0, parts=Parts(folder))
    except Killed:
        frame = None
    return frame, generator.calls


@pytest.mark.parametrize("dies", range(5))
def test_a_killed_section_3_generates_only_what_is_missing(tmp_path, dies):
    whole, calls = section_3(None)
    assert len(calls) == 5
    killed, done = section_3(tmp_path / "parts", dies)
    assert killed is None and len(done) == dies
    resumed, rest = section_3(tmp_path / "parts")
    assert done + rest == calls
    constant = {name: value for name, value in FIELDS.items() if name != "context"}
    rows = [frame.assign(**constant, step=0, benchmark="section-3") for frame in (whole, resumed)]
    assert_same_file(tmp_path, *rows)
