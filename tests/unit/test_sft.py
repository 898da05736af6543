"""SFT: the tokens trained on are those of generation, the loss is on the response only, and every update is
recorded.
"""

import pandas
import pytest
import tiny
import torch

from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.training.datasets import sft_dataset
from selfdistill.training.sft import build_sft_trainer, train_sft

QUESTION = "find x : x *5 = 1"
CASES = [
    ("r1", "prompt-tag", "try 8 yes </think> \\boxed{8}", "<|assistant|> <think>"),
    ("qwen3", "on", "<think> try 8 yes </think> \\boxed{8}", "<|assistant|>"),
    ("qwen3", "off", "so 8 \\boxed{8}", "<|assistant|> <think> </think>"),
    ("olmo3", "none", "so 8 \\boxed{8}", "<|assistant|>"),
]


def rows_of(folder, template, thinking, responses, max_tokens=None):
    path = folder / "data.parquet"
    frame = pandas.DataFrame(
        {"problem_id": range(len(responses)), "question": QUESTION, "response": responses}
    )
    frame.to_parquet(path)
    return sft_dataset(path, build_tokenizer(template), thinking, max_tokens)


@pytest.mark.parametrize(("template", "thinking", "response", "generation"), CASES)
def test_tokens_are_the_prompt_of_generation_then_the_response_and_its_end(
    tmp_path, template, thinking, response, generation
):
    tokenizer = build_tokenizer(template)
    row = rows_of(tmp_path, template, thinking, [response])[0]
    assert tokenizer.decode(row["input_ids"]) == f"<|user|> {QUESTION} {generation} {response} <eos>"
    trained = [token for token in row["labels"] if token != -100]
    assert tokenizer.decode(trained) == f"{response} <eos>"
    assert row["labels"] == [-100] * (len(row["labels"]) - len(trained)) + row["input_ids"][-len(trained) :]


def test_long_examples_are_cut_on_the_right(tmp_path):
    whole = rows_of(tmp_path, "olmo3", "none", ["so 8 \\boxed{8}"])[0]
    cut = rows_of(tmp_path, "olmo3", "none", ["so 8 \\boxed{8}"], max_tokens=11)[0]
    assert cut == {name: values[:11] for name, values in whole.items()}


def test_examples_that_teach_nothing_are_counted_and_refused_if_there_is_no_other(tmp_path, caplog):
    short = "so 8 \\boxed{8}"
    with pytest.raises(
        ValueError, match=r"data.parquet: sft.max_tokens = 8 truncates all 2 examples within their prompts"
    ):
        rows_of(tmp_path, "olmo3", "none", [short, short], max_tokens=8)
    with pytest.raises(ValueError, match=r"data.parquet: must have at least one example"):
        rows_of(tmp_path, "olmo3", "none", [])
    path = tmp_path / "data.parquet"
    questions = ["find x : x *5 = 1", "find x : x *5 *5 *5 = 1"]
    pandas.DataFrame({"question": questions, "response": short}).to_parquet(path)
    assert len(sft_dataset(path, build_tokenizer("olmo3"), "none", 10)) == 2
    assert (
        "1 of 2 examples, truncated at 10 tokens within their prompts, have no token in the loss"
        in caplog.text
    )


def test_loss_is_the_mean_over_all_response_tokens_of_the_batch(tmp_path):
    job = tiny.job(tmp_path, "sft", tiny.SFT | {"epochs": 1, "batch_size": 7})
    trainer = build_sft_trainer(job)
    model = type(trainer.model)(trainer.model.config)
    model.load_state_dict(trainer.model.state_dict())
    total, tokens = 0.0, 0
    for row in trainer.train_dataset:
        ids, labels = torch.tensor(row["input_ids"]), torch.tensor(row["labels"])
        with torch.no_grad():
            log_probs = model(ids[None]).logits[0, :-1].log_softmax(-1)
        scored = labels[1:] != -100
        total -= float(log_probs.gather(1, ids[1:, None]).squeeze(1)[scored].sum())
        tokens += int(scored.sum())
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(total / tokens, rel=1e-4)


def test_accumulating_micro_batches_equals_one_batch(tmp_path):
    trained = []
    for size in (None, 1):
        job = tiny.job(tmp_path, "sft", tiny.SFT | {"epochs": 1, "schedule": "constant", "micro_batch": size})
        trainer = build_sft_trainer(job)
        trainer.args.optim, trainer.args.learning_rate = "sgd", 1.0
        trainer.train()
        trained.append(list(trainer.model.parameters()))
    for whole, split in zip(*trained, strict=True):
        torch.testing.assert_close(whole, split, rtol=1e-4, atol=1e-6)


def test_a_run_leaves_its_last_checkpoint_and_a_record_of_every_update(tmp_path):
    job = tiny.job(tmp_path, "sft", tiny.SFT | {"learning_rate": 0.01})
    train_sft(job)
    assert [p.name for p in (job.output / "checkpoints").glob("step-*")] == ["step-6"]
    assert not tiny.same_weights(job.base, job.output / "checkpoints" / "step-6")
    training = pandas.read_parquet(job.output / "training.parquet")
    assert training["step"].tolist() == list(range(6))
    assert training["loss"][4:].mean() < 0.9 * training["loss"][:2].mean()  # last epoch against first
    assert training["learning_rate"].is_monotonic_decreasing and training["score"].isna().all()
    assert (training["method"] == "sft").all()
