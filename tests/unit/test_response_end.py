"""A response ends at the same tokens, and at the model's last position, in every stage and in both backends."""

import json
from types import SimpleNamespace

import pandas
import pytest
import tiny
import torch

from selfdistill.generation.protocol import Sampling
from selfdistill.generation.transformers_backend import TransformersGenerator, sample_batch
from selfdistill.generation.vllm_backend import VllmGenerator, engine_length, sampling_arguments
from selfdistill.grading.graders import Grade
from selfdistill.models.loading import load_model, load_tokenizer
from selfdistill.models.response_end import end_token_ids, folder_end_token_ids, response_room
from selfdistill.problems.problem import read_problems
from selfdistill.sampling import evaluation
from selfdistill.sampling.section_3 import run_section_3
from selfdistill.training.datasets import sft_dataset
from selfdistill.training.grpo import train_grpo
from selfdistill.training.sdpo import train_sdpo
from selfdistill.training.sft import train_sft
from selfdistill.vocabulary.contexts import PAPER_CONTEXTS

SECOND = "wait"  # an ordinary word of the organism, so that it can be read off the responses
NEW = 40
TRAINERS = {"grpo": (train_grpo, tiny.GRPO), "sdpo": (train_sdpo, tiny.SDPO)}


@pytest.fixture
def base(tmp_path):
    """A base whose generation config lists a second end; it has the folder's usual place for `tiny.job`."""
    folder = tiny.save_base(tmp_path / "base")
    file = folder / "generation_config.json"
    settings = json.loads(file.read_text())
    settings["eos_token_id"] = [second(folder), settings["eos_token_id"]]
    file.write_text(json.dumps(settings))
    return folder


def second(folder) -> int:
    return load_tokenizer(folder).convert_tokens_to_ids(SECOND)


def check_ends(frame: pandas.DataFrame) -> None:
    """No response goes on behind the second end, which ends some of them; those are complete."""
    words = frame["response"].str.split()
    by_second = words.map(lambda row: row[-1:] == [SECOND])
    assert by_second.sum() > 3
    assert not words.map(lambda row: SECOND in row[:-1]).any()
    assert not frame.loc[by_second, "truncated"].any()
    assert frame.loc[frame["truncated"], "response_tokens"].eq(NEW).all()
    assert frame["truncated"].any()


@pytest.mark.parametrize("method", TRAINERS)
def test_training_ends_at_both_and_its_checkpoints_say_so(base, tmp_path, method):
    train, settings = TRAINERS[method]
    settings = settings | {"max_new_tokens": NEW, "prompts": 6, "rollouts": 8}
    train(tiny.job(tmp_path, method, settings), tiny.coin_reward)
    out = tmp_path / "run" / "out"
    check_ends(pandas.read_parquet(out / "rollouts.parquet"))
    assert folder_end_token_ids(out / "checkpoints" / "step-4") == folder_end_token_ids(base)


def test_sft_writes_the_tokenizer_s_end_and_keeps_both(base, tmp_path):
    tokenizer = load_tokenizer(base)
    rows = sft_dataset(tiny.save_responses(tmp_path / "responses.parquet"), tokenizer, "on", None)
    assert (
        {row[-1] for row in rows["input_ids"]} == {folder_end_token_ids(base)[0]} == {tokenizer.eos_token_id}
    )
    train_sft(tiny.job(tmp_path, "sft", tiny.SFT))
    [step] = (tmp_path / "run" / "out" / "checkpoints").glob("step-*")
    assert folder_end_token_ids(step) == folder_end_token_ids(base)


def test_evaluation_ends_at_both(base, tmp_path):
    problems = read_problems(tiny.save_problems(tmp_path / "problems.parquet"))
    frame = evaluation.evaluate_checkpoint(
        0, base, {"chain": problems}, "on", "qwen3", 8, Sampling(max_new_tokens=NEW), {}, 0
    )
    check_ends(frame)


def test_section_3_ends_at_both(base, tmp_path, monkeypatch):
    problems = read_problems(tiny.save_problems(tmp_path / "problems.parquet"))
    monkeypatch.setattr(
        evaluation,
        "grade_by_kind",
        lambda grader, texts, problems: [Grade("1", True, "correct")] * len(texts),
    )
    settings = SimpleNamespace(problems=6, samples=8, solve_rate=(1, 8), batch=6, further=[])
    generator = TransformersGenerator.load(base, "on")
    frame = run_section_3(generator, "qwen3", problems, settings, Sampling(max_new_tokens=NEW), 0)
    assert set(frame["context"]) == set(PAPER_CONTEXTS)
    for _, rows in frame.groupby("context"):
        check_ends(rows)


def test_vllm_stops_at_both(base):
    generator = VllmGenerator(base, "on")
    ends = (generator.tokenizer.eos_token_id, second(base))
    assert generator.end_token_ids == TransformersGenerator.load(base, "on").end_token_ids == ends
    asked = sampling_arguments(
        Sampling(), seed=0, prompt_tokens=9, max_model_len=64, end_token_ids=generator.end_token_ids
    )
    assert asked["stop_token_ids"] == list(ends)


@pytest.mark.parametrize(
    ("tokenizer_end", "listed", "expected"),
    [
        (151645, [151645, 151643], (151645, 151643)),  # Qwen3
        (100257, [100265, 100257], (100257, 100265)),  # Olmo-3
        (1, 1, (1,)),
        (1, 2, (1, 2)),
        (1, None, (1,)),
        (0, [0], (0,)),
    ],
)
def test_the_tokenizer_s_end_comes_first_then_what_else_is_listed(tokenizer_end, listed, expected):
    tokenizer = SimpleNamespace(eos_token_id=tokenizer_end)
    assert end_token_ids(SimpleNamespace(eos_token_id=listed), tokenizer) == expected


def test_a_tokenizer_without_end_is_refused():
    tokenizer = SimpleNamespace(eos_token_id=None, name_or_path="models/x")
    with pytest.raises(ValueError, match="models/x: the tokenizer has no end-of-sequence token"):
        end_token_ids(SimpleNamespace(eos_token_id=[3]), tokenizer)


def test_a_folder_without_generation_config_ends_where_its_model_does(base):
    (base / "generation_config.json").unlink()
    config = json.loads((base / "config.json").read_text()) | {"eos_token_id": second(base)}
    (base / "config.json").write_text(json.dumps(config))
    loaded = end_token_ids(load_model(base).generation_config, load_tokenizer(base))
    assert folder_end_token_ids(base) == loaded == (load_tokenizer(base).eos_token_id, second(base))


def test_a_tokenizer_without_padding_pads_with_its_end(base):
    file = base / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    del settings["pad_token"]
    file.write_text(json.dumps(settings))
    tokenizer = load_tokenizer(base)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id is not None


def test_a_response_ends_at_the_model_s_last_position_in_both_backends(base):
    model, prompts = load_model(base), [[3, 8, 10, 20, 30, 4], [3, 8, 4]]
    model.config.max_position_embeddings = 16
    drawn = sample_batch(
        model, prompts, max_new_tokens=NEW, eos_token_ids=[-1], pad_token_id=0, generator=torch.Generator().manual_seed(0)
    )  # fmt: skip
    assert [len(row) for row in drawn.token_ids] == [len(row) for row in drawn.log_probs] == [10, 13]
    length = engine_length(6, NEW, 16)
    asked = (
        sampling_arguments(
            Sampling(max_new_tokens=NEW), seed=0, prompt_tokens=n, max_model_len=length, end_token_ids=(1,)
        )
        for n in (6, 3)
    )
    assert [arguments["max_tokens"] for arguments in asked] == [10, 13]
    with pytest.raises(ValueError, match="a prompt of 16 tokens leaves no room in a model of 16 positions"):
        sample_batch(
            model, [[3] * 16], max_new_tokens=1, eos_token_ids=[1], pad_token_id=0, generator=torch.Generator()
        )  # fmt: skip


def test_room_is_what_is_asked_for_where_there_is_so_much():
    assert response_room(100, 412, 512) == 412
    assert response_room(100, 413, 512) == 412
