"""Exported models in bfloat16: the weights of the float32 export, rounded, in a folder that loads and is whole."""

import json

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from test_resume import Killed, at_call, kill

from selfdistill.models.loading import load_model, load_tokenizer
from selfdistill.records.completeness import checkpoint_folders
from selfdistill.records.file_lists import check_files
from selfdistill.records.files import read_json
from selfdistill.training.exports import export_file
from selfdistill.training.grpo import train_grpo
from selfdistill.training.sft import train_sft

STEPS = (1, 2)
SETTINGS = tiny.GRPO | {"steps": 2, "checkpoint_every": 1}


def assert_rounded(exact, half) -> None:
    """A bfloat16 model folder is that of a float32 one."""
    check_files(half)
    assert {path.name for path in half.iterdir()} == {path.name for path in exact.iterdir()}
    assert read_json(half / "config.json") == read_json(exact / "config.json") | {"dtype": "bfloat16"}
    whole, rounded = tiny.weights(exact), tiny.weights(half)
    assert whole.keys() == rounded.keys()
    for name, weight in whole.items():
        assert rounded[name].dtype == torch.bfloat16
        assert torch.equal(rounded[name], weight.bfloat16()), name
    assert (half / "model.safetensors").stat().st_size < 0.6 * (exact / "model.safetensors").stat().st_size
    assert load_model(half, dtype="auto").dtype == torch.bfloat16
    assert load_tokenizer(half).get_vocab() == load_tokenizer(exact).get_vocab()


def test_exports_are_rounded_and_training_is_not(tmp_path):
    exact = tiny.job(tmp_path, "grpo", SETTINGS, name="exact")
    half = tiny.job(tmp_path, "grpo", SETTINGS | {"export_dtype": "bfloat16"}, name="half")
    train_grpo(exact, tiny.coin_reward)
    with pytest.raises(Killed):
        train_grpo(half, at_call(1, kill))
    train_grpo(half, tiny.coin_reward)
    for step in STEPS:
        folders = [checkpoint_folders(job.output / "checkpoints", STEPS)[step] for job in (exact, half)]
        assert_rounded(*folders)
    assert tiny.weights(half.resume / "checkpoint-4")["model.norm.weight"].dtype == torch.float32
    assert tiny.same_weights(exact.resume / "checkpoint-4", half.resume / "checkpoint-4")


def test_sft_exports_are_rounded_too(tmp_path):
    jobs = [
        tiny.job(tmp_path, "sft", tiny.SFT | {"epochs": 1, "export_dtype": kind}, name=kind)
        for kind in ("float32", "bfloat16")
    ]
    for job in jobs:
        train_sft(job)
    assert_rounded(*(job.output / "checkpoints" / "step-2" for job in jobs))


def test_several_files_of_weights_keep_their_index_and_other_types(tmp_path):
    weights = {"a": torch.ones(2, 3), "count": torch.tensor([3])}
    save_file(weights, tmp_path / "model-00001-of-00001.safetensors", metadata={"format": "pt"})
    index = {"metadata": {"total_size": 24}, "weight_map": {"a": "model-00001-of-00001.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    target = tmp_path / "target"
    target.mkdir()
    for file in list(tmp_path.glob("model*")):
        export_file(file, target / file.name)
    cast = load_file(target / "model-00001-of-00001.safetensors")
    assert (cast["a"].dtype, cast["count"].dtype) == (torch.bfloat16, torch.int64)
    assert read_json(target / "model.safetensors.index.json") == index | {"metadata": {"total_size": 12}}
