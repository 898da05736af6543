"""SDPO with a loss at some tokens: whose tokens these are, that their gradients add up to SDPO's, and what is recorded."""

import itertools
import random
from dataclasses import replace

import pandas
import pytest
import tiny
import torch
from test_credit import ONE_UPDATE, assert_moved, assert_same_weights
from test_resume import KILLED_AT, STEPS, Killed, assert_same_outputs, at_call, kill
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from selfdistill.grading import positions
from selfdistill.grading.token_classes import epistemic_tokens, text_classes
from selfdistill.models.offsets import token_offsets
from selfdistill.organism.chains import draw_chain
from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.organism.traces import Style, render, search
from selfdistill.study.methods.positions import PositionsSettings
from selfdistill.training.arguments import sdpo_arguments
from selfdistill.training.checkpoints import RECORDS
from selfdistill.training.on_policy import build_trainer
from selfdistill.training.sdpo import SelfDistillationTrainer, teacher_options
from selfdistill.training.variants.positions import (
    CLASSES,
    PositionsTrainer,
    ShareRecorder,
    kept_tokens,
    train_positions,
)
from selfdistill.training.variants.scores import least_of_highest
from selfdistill.vocabulary.token_classes import HIGH_ENTROPY, POSITIONS, TOKEN_CLASSES
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

ROUNDING = 1e-7
"""Of gradients in float64 below 1: the model's norms compute in float32."""


def settings(*at: str, **changes) -> PositionsSettings:
    return PositionsSettings(**tiny.SDPO | {"at": list(at)} | changes)


def test_positions_are_those_of_grading():
    assert TOKEN_CLASSES[:5] == POSITIONS


def test_epistemic_tokens_of_the_organism_are_its_epistemic_words():
    rng, tokenizer, seen = random.Random(0), build_tokenizer("r1"), set()
    for _ in range(50):
        text = render(*search(draw_chain("d3", rng, "train"), rng, Style()), "r1", "on")
        (shown,), (offsets,) = token_offsets(tokenizer, [tokenizer(text)["input_ids"]])
        words = text.split()
        assert shown == text and len(offsets) == len(words)
        assert epistemic_tokens(text, offsets).tolist() == [word in EPISTEMIC_WORDS for word in words]
        table = text_classes(text, offsets)
        assert table[:, :5].sum(axis=1).tolist() == [1] * len(words)
        assert (table[:, :5].argmax(axis=1) == positions.token_positions(text, offsets)).all()
        seen |= {word for word in words if word in EPISTEMIC_WORDS}
    assert len(seen) > 5


def test_epistemic_words_count_as_in_the_paper_in_any_case_and_within_words():
    text = "Wait, it's unlikely. Rechecking"
    pieces = ["Wait", ",", " it's", " un", "like", "ly", ".", " Rechecking", ""]
    ends = list(itertools.accumulate(map(len, pieces)))
    offsets = [(end - len(piece), end) for piece, end in zip(pieces, ends, strict=True)]
    marked = [
        piece for piece, is_word in zip(pieces, epistemic_tokens(text, offsets), strict=True) if is_word
    ]
    assert marked == ["Wait", "like", "ly", " Rechecking"]


@pytest.fixture(scope="module")
def byte_level() -> PreTrainedTokenizerFast:
    """A tokenizer as the real families have: bytes, merged."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<end>"]
    )
    core.train_from_iterator(["wait, maybe 12 = 3 perhaps wait"] * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>")


@pytest.mark.parametrize("chosen", [True, False])
def test_offsets_are_those_of_the_drawn_tokens(byte_level, chosen):
    """Also of tokens that the tokenizer would not choose, and of the two bytes of a character."""

    def ids(text: str) -> list[int]:
        return byte_level(text)["input_ids"]

    letters = [one for letter in " maybe" for one in ids(letter)]
    row = ids("wait, maybe") if chosen else ids("wait,") + letters
    assert len(row) == len(ids("wait,")) + (1 if chosen else 6)
    row += [*ids(" é 12"), byte_level.eos_token_id]
    texts, offsets = token_offsets(byte_level, [row, ids("perhaps 3")])
    assert texts == ["wait, maybe é 12", "perhaps 3"]
    pieces = [texts[0][start:end] for start, end in offsets[0]]
    alone = [byte_level.decode([token], skip_special_tokens=True) for token in row]
    assert alone.count("\ufffd") == 2
    assert [piece for piece, one in zip(pieces, alone, strict=True) if one == "\ufffd"] == (
        ["é", "é"] if chosen else ["", "é"]
    )
    assert [(a, b) for a, b in zip(pieces, alone, strict=True) if a != b and b != "\ufffd"] == []
    assert offsets[0][-1].tolist() in ([0, 0], [16, 16]) and offsets[1][-1, 1] == 9


def test_the_share_of_tokens_with_the_highest_entropy_is_exact():
    values = torch.tensor([0.1, 3.0, 0.2, 2.0, 0.3, 1.0, 0.4, 0.5, 0.6, 0.7])
    for share, found in ((0.0, []), (0.2, [1, 3]), (0.3, [1, 3, 5]), (1.0, list(range(10)))):
        least = least_of_highest(values, share)
        assert torch.nonzero(values >= least).flatten().tolist() == found


def test_kept_tokens():
    table = torch.zeros(3, len(TOKEN_CLASSES), dtype=torch.int8)
    table[0, 0] = table[1, 1] = table[2, 4] = table[0, 5] = 1
    for at, kept in ((["opener"], [1, 0, 0]), (["fork", "epistemic"], [1, 1, 0]), (["answer"], [0, 0, 0])):
        assert kept_tokens(table, settings(*at)).tolist() == [bool(one) for one in kept]
        assert kept_tokens(table, settings(*at, keep="without")).tolist() == [not one for one in kept]


def trained(folder, method: str, reward=tiny.coin_reward, **changes):
    """A trainer after one update of plain gradient descent, so that weights show gradients."""
    job = tiny.job(folder, method, tiny.SDPO | ONE_UPDATE | changes, name=method)
    arguments = sdpo_arguments(job.settings, job.run.teacher, job.thinking, job.resume, job.seed)
    arguments = replace(
        arguments, optim="sgd", weight_decay=0.0, max_grad_norm=1e9, generation_batch_size=None
    )
    if method == "sdpo":
        return finished(
            build_trainer(SelfDistillationTrainer, job, arguments, reward, **teacher_options(job))
        )
    record = ShareRecorder(job.resume / RECORDS, job.run.fields(), job.settings.updates_per_step)
    options = teacher_options(job) | {"settings": job.settings, "record": record}
    return finished(build_trainer(PositionsTrainer, job, arguments, reward, **options))


def finished(trainer):
    """The trainer after its training."""
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def double(tmp_path_factory):
    """A trainer in float64 after one update, with rollouts that have every class of tokens."""
    own = {"at": ["opener"], "keep": "without", "micro_batch": 4, "learning_rate": 0.5}
    trainer = trained(tmp_path_factory.mktemp("double"), "sdpo-positions", **own)
    for model in (trainer.model, trainer.teacher_model):
        model.double()
    return trainer


def gradient(trainer, kind, **changes) -> torch.Tensor:
    """The gradient of the last mini-batch's summed loss, in one vector; kind: the trainer whose loss it is."""
    trainer.settings = settings(**{"at": ["opener"]} | changes)
    trainer.model.zero_grad()
    for batch in filter(None, trainer._buffered_inputs):
        kind.summed_loss(trainer, trainer.model, batch).backward()
    return torch.cat([parameter.grad.flatten() for parameter in trainer.model.parameters()])


def test_the_gradients_of_the_positions_add_up_to_sdpos(double):
    whole = gradient(double, SelfDistillationTrainer)
    shares = {name: gradient(double, PositionsTrainer, at=[name]) for name in TOKEN_CLASSES}
    assert whole.dtype == torch.float64 and all(own.norm() > 1e-3 * whole.norm() for own in shares.values())
    torch.testing.assert_close(sum(shares[name] for name in POSITIONS), whole, rtol=0, atol=ROUNDING)
    for name, own in shares.items():
        without = gradient(double, PositionsTrainer, at=[name], keep="without")
        torch.testing.assert_close(without, whole - own, rtol=0, atol=ROUNDING)
    both = gradient(double, PositionsTrainer, at=["opener", "candidate"])
    torch.testing.assert_close(both, shares["opener"] + shares["candidate"], rtol=0, atol=ROUNDING)


def test_classes_of_a_batch_are_those_of_its_texts_and_of_its_highest_entropies(double):
    """The policy of the first mini-batch is the teacher, which is the base; entropies here are over whole rows."""
    values, high, tokens = [], [], 0
    for batch in filter(None, double._buffered_inputs):
        mask = double.loss_mask(batch).bool()
        for row, own in enumerate(mask):
            if not own.any():
                continue
            ids = batch["completion_ids"][row][own]
            text = double._tokenizer.decode(ids)
            words = text.split()
            assert len(words) == len(ids), "the tokenizer is one of words"
            shown = batch[CLASSES][row][: len(own)][own].bool()
            assert shown[:, 5].tolist() == [word in EPISTEMIC_WORDS for word in words]
            assert shown[:, :5].sum(1).tolist() == [1] * len(ids)
            prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()]
            with torch.no_grad():
                logits = double.teacher_model(torch.cat([prompt, ids])[None]).logits[0]
            log_probs = logits[len(prompt) - 1 : -1].log_softmax(-1)
            values.append(-(log_probs.exp() * log_probs).sum(-1))
            high.append(shown[:, TOKEN_CLASSES.index(HIGH_ENTROPY)])
            tokens += len(ids)
    values, high = torch.cat(values), torch.cat(high)
    assert tokens > 100 and abs(int(high.sum()) - 0.2 * tokens) <= 1
    assert values[high].min() > values[~high].max() - 1e-5


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_with_every_position_it_is_sdpo(tmp_path, micro_batch):
    own = trained(tmp_path, "sdpo-positions", at=list(POSITIONS), micro_batch=micro_batch)
    assert_moved(own)
    assert_same_weights(own, trained(tmp_path, "sdpo"))


def test_the_mean_is_over_all_tokens_of_sdpo(tmp_path):
    """The updates of some tokens and of all others add up to SDPO's."""
    parts = [
        trained(tmp_path / keep, "sdpo-positions", at=["candidate", "high-entropy"], keep=keep)
        for keep in ("only", "without")
    ]
    whole = trained(tmp_path / "only", "sdpo")
    assert_moved(parts[0])
    models = [trainer.model for trainer in (*parts, whole)]
    weights = [model.parameters() for model in (*models, whole.teacher_model)]
    for only, without, both, base in zip(*weights, strict=True):
        torch.testing.assert_close(only + without - base, both, rtol=0, atol=1e-5)


def test_a_run_without_any_kept_token_moves_nothing(tmp_path):
    own = {"at": ["high-entropy"], "entropy_share": 0.0, "weight_decay": 0.0, "steps": 2}
    job = tiny.job(tmp_path, "sdpo-positions", tiny.SDPO | own)
    train_positions(job, tiny.coin_reward)
    assert tiny.same_weights(job.base, job.output / "checkpoints" / "step-2")
    frame = pandas.read_parquet(job.output / "positions.parquet").set_index("token_class")
    assert frame.loc["high-entropy", "tokens"].tolist() == [0, 0] and (frame.loc["other", "tokens"] > 0).all()


def test_a_step_without_any_success_has_no_shares(tmp_path):
    job = tiny.job(tmp_path, "sdpo-positions", tiny.SDPO | {"steps": 1, "at": ["other"]})
    train_positions(job, lambda responses, answers: tiny.graded([0.0] * len(responses)))
    frame = pandas.read_parquet(job.output / "positions.parquet")
    assert frame["tokens"].eq(0).all() and frame[["token_share", "loss_share"]].isna().all(axis=None)


def test_the_record_holds_the_shares_of_every_step(tmp_path):
    """The kept share is the loss that is trained; one update, so that both see the same weights."""
    own = {"at": ["candidate"], "updates_per_step": 1, "steps": 3, "micro_batch": 4}
    job = tiny.job(tmp_path, "sdpo-positions", tiny.SDPO | own)
    train_positions(job, tiny.coin_reward)
    frame = pandas.read_parquet(job.output / "positions.parquet")
    assert frame["token_class"].tolist() == list(TOKEN_CLASSES) * 3
    assert frame["step"].tolist() == [step for step in range(3) for _ in TOKEN_CLASSES]
    assert set(frame["method"]) == {"sdpo-positions"}
    whole = frame[frame["token_class"].isin(POSITIONS)].groupby("step")[["tokens", "loss"]].sum()
    rollouts = pandas.read_parquet(job.output / "rollouts.parquet").query("has_demonstration")
    assert whole["tokens"].tolist() == rollouts.groupby("step")["response_tokens"].sum().tolist()
    kept = frame[frame["token_class"] == "candidate"].set_index("step")
    assert (kept["loss_share"] > 0).all()
    trained_loss = pandas.read_parquet(job.output / "training.parquet")["loss"]
    assert (kept["loss"] / whole["tokens"]).tolist() == pytest.approx(trained_loss.tolist(), rel=1e-4)
    for name, share in (("tokens", "token_share"), ("loss", "loss_share")):
        expected = frame[name] / frame["step"].map(whole[name])
        pandas.testing.assert_series_equal(frame[share], expected, check_names=False)


def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path):
    whole, killed = (
        tiny.job(tmp_path, "sdpo-positions", tiny.SDPO | {"steps": STEPS, "at": ["opener"]}, name=name)
        for name in ("whole", "killed")
    )
    train_positions(whole, tiny.coin_reward)
    with pytest.raises(Killed):
        train_positions(killed, at_call(KILLED_AT, kill))
    train_positions(killed, tiny.coin_reward)
    assert_same_outputs(whole, killed)
    records = [pandas.read_parquet(job.output / "positions.parquet") for job in (whole, killed)]
    pandas.testing.assert_frame_equal(*records, check_exact=True)
