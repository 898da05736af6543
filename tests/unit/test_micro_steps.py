"""What two processes on shards hold and run in every micro-step, with a stand-in for vLLM: no whole gradients, no
padding in passes of the old policy, and next to nothing for rows without loss.
"""

import json
from pathlib import Path

import pandas
import pytest
import tiny
from test_distributed import on_two

WORKER = (str(Path(__file__).with_name("observed_worker.py")),)
# 4 groups of 4 rollouts, two a process; a mini-batch has 4 rows a process, a micro-batch one or two
SETTINGS = {"steps": 1, "checkpoint_every": 1, "warmup_steps": 0, "max_new_tokens": 40, "backend": "vllm"}
METHODS = {"grpo": tiny.GRPO, "sdpo": tiny.SDPO}
SEED = 2  # one whose rollouts with loss differ in length on both processes
LIMIT = 250  # tokens of a pass: two rows or more, of which the teacher reads more than the student


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """(method, name) -> what each of the processes noted; `silent`: no row has a loss."""
    folder = tmp_path_factory.mktemp("observed")
    jobs = {
        (method, name): tiny.job(
            folder, method, settings | SETTINGS | size, name=f"{name}-{method}", seed=SEED
        )
        for method, settings in METHODS.items()
        for name, size in (
            ("rows", {"micro_batch": 1}),
            ("silent", {"micro_batch": 1}),
            ("pairs", {"micro_batch": 2}),
            ("tokens", {"micro_tokens": LIMIT}),
        )
    }
    on_two(list(jobs.values()), worker=WORKER)
    return {
        key: [
            json.loads((job.resume / f"observed-{rank}.json").read_text()) | {"output": job.output}
            for rank in (0, 1)
        ]
        for key, job in jobs.items()
    }


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_reduced_in_every_micro_step(notes, method):
    for own in notes[method, "rows"]:
        assert own["unsharded"] == [0] * 6  # the fourth micro-step of an update ends it
        assert min(own["sharded"]) > 0


@pytest.mark.parametrize("name", ["rows", "pairs"])
@pytest.mark.parametrize("method", METHODS)
def test_the_old_policy_runs_every_row_with_loss_alone_and_without_padding(notes, method, name):
    both = notes[method, name]
    assert (
        len(both[0]["old"]) == len(both[1]["old"]) < 8
    )  # the same passes on both, and none for rows without loss
    for own in both:
        widths = sorted(own["wanted"] + [2] * (len(own["old"]) - len(own["wanted"])))
        assert sorted(own["old"]) == [[1, width] for width in widths]
        assert len(set(own["wanted"])) > 1 and max(own["error"]) < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_rows_without_loss_cost_one_token_of_prompt_and_completion(notes, method):
    for own in notes[method, "silent"]:
        assert own["old"] == [] and own["learning"] == [[1, 2]] * 8
        assert own["teacher"] == ([[1, 2]] * 8 if method == "sdpo" else [])


@pytest.mark.parametrize("method", METHODS)
def test_rows_without_loss_run_beside_each_other(notes, method):
    """Processes wait for each other in every pass: a short row beside a long one saves nothing."""
    short = [[pair == [1, 2] for pair in own["learning"]] for own in notes[method, "rows"]]
    assert 4 <= sum(short[0]) + sum(short[1]) < 16
    assert sum(a != b for a, b in zip(*short, strict=True)) <= 2  # at most one a mini-batch


def results(notes, method, name):
    """The training record and the last weights of a job."""
    output = notes[method, name][0]["output"]
    (last,) = (output / "checkpoints").glob("step-*")
    return pandas.read_parquet(output / "training.parquet"), tiny.weights(last)


@pytest.mark.parametrize("method", METHODS)
def test_rows_share_passes_up_to_a_number_of_tokens_and_train_as_they_do_alone(notes, method):
    both = notes[method, "tokens"]
    for own in both:
        passes = own["learning"]
        assert 2 <= len(passes) < 8 and len(passes) == len(both[0]["learning"])
        assert all(rows * width <= LIMIT or rows == 1 for rows, width in passes + own["teacher"])
        assert max(rows for rows, _ in passes) > 1
        assert len(own["old"]) < 8 and max(own["error"]) < 1e-3
        assert own["unsharded"] == [0] * 6
    (alone, before), (shared, after) = (results(notes, method, name) for name in ("rows", "tokens"))
    for name in ("loss", "grad_norm"):
        assert shared[name].tolist() == pytest.approx(alone[name].tolist(), rel=1e-6, abs=1e-6)
    assert alone["grad_norm"].min() > 1e-3
    # two updates of at most 1e-3: Adam divides by a weight's own gradients, and so enlarges the rounding of the smallest
    assert max(float((before[name] - after[name]).abs().max()) for name in before) < 1e-5
