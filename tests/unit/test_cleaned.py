"""Methods that distil from a cleaned target: the updates they make, by their formulas, and the limits in which they are SDPO."""

import math
from dataclasses import replace

import pytest
import test_grpo
import test_sdpo
import test_teacher_contexts
import tiny
import torch
from test_credit import ONE_UPDATE, assert_descended, assert_moved, assert_same_weights, picked, rows_of

from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.study.methods.projps import CONFIDENT_WORDS
from selfdistill.training.arguments import sdpo_arguments
from selfdistill.training.on_policy import build_trainer
from selfdistill.training.sdpo import SelfDistillationTrainer, teacher_options, train_sdpo
from selfdistill.training.variants.adopsd import AdopsdTrainer, train_adopsd
from selfdistill.training.variants.projps import ProjpsTrainer, train_projps
from selfdistill.training.variants.purified import REFERENCE, PurifiedTrainer, train_purified
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

KINDS = {
    "sdpo": SelfDistillationTrainer, "projps": ProjpsTrainer, "purified": PurifiedTrainer, "adopsd": AdopsdTrainer,
}  # fmt: skip
TRAIN = {"projps": train_projps, "purified": train_purified, "adopsd": train_adopsd}
WHOLE = {"top_k": None, "is_clip": None}


def trained(folder, method: str, **changes):
    """A trainer after some updates of plain gradient descent, so that weights show gradients."""
    job = tiny.job(folder, method, tiny.SDPO | ONE_UPDATE | WHOLE | changes, name=method)
    arguments = sdpo_arguments(job.settings, job.run.teacher, job.thinking, job.resume, job.seed)
    options = teacher_options(job) | ({"settings": job.settings} if method != "sdpo" else {})
    arguments = replace(
        arguments, optim="sgd", weight_decay=0.0, max_grad_norm=1e9, generation_batch_size=None
    )
    trainer = build_trainer(KINDS[method], job, arguments, tiny.coin_reward, **options)
    trainer.train()
    return trainer


def divergence(student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Jensen-Shannon divergence of every token from log-probabilities of the student and probabilities of the target, (tokens,)."""
    s = student.exp()
    m = (s + target) / 2
    return ((s * (s / m).log()).sum(-1) + (target * (target / m).log()).sum(-1)) / 2


def taught_rows(trainer):
    """The rows with a demonstration of the trainer's first mini-batch: (row, prompt, completion, the teacher's prompt)."""
    batch = trainer._buffered_inputs[0]
    chosen = [own for own in rows_of(batch) if batch["self_distillation_mask"][own[0]]]
    assert 4 < len(chosen) < 16
    return chosen


def mean(losses: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat(losses).mean()


@pytest.mark.parametrize("method", TRAIN)
def test_a_run_of_the_method_trains_and_records(tmp_path, method):
    job = tiny.job(tmp_path, method, tiny.SDPO | WHOLE | {"steps": 2, "micro_batch": 4})
    TRAIN[method](job, tiny.coin_reward)
    assert not tiny.same_weights(job.base, job.output / "checkpoints" / "step-2")
    assert (job.output / "rollouts.parquet").exists()


@pytest.mark.parametrize("method", TRAIN)
def test_a_step_without_any_success_moves_nothing(tmp_path, method):
    own = {"steps": 1, "warmup_steps": 0, "weight_decay": 0.0, "checkpoint_every": 1}
    job = tiny.job(tmp_path, method, tiny.SDPO | WHOLE | own)
    TRAIN[method](job, lambda responses, answers: tiny.graded([0.0] * len(responses)))
    assert tiny.same_weights(job.base, job.output / "checkpoints" / "step-1")


def test_sdpo_over_the_whole_vocabulary_is_that_of_its_formula(tmp_path):
    trainer = trained(tmp_path, "sdpo")
    policy, losses = test_grpo.copy_of(trainer.teacher_model), []
    for _, prompt, completion, taught in taught_rows(trainer):
        student = test_sdpo.log_probs(policy, prompt, completion)
        with torch.no_grad():
            teacher = test_sdpo.log_probs(policy, taught, completion)
        losses.append(divergence(student, teacher.exp()))
    assert_descended(trainer, policy, mean(losses))


def test_the_update_of_projps_is_that_of_its_formula(tmp_path):
    trainer = trained(tmp_path, "projps")
    policy, losses = test_grpo.copy_of(trainer.teacher_model), []
    vocabulary = build_tokenizer("qwen3").get_vocab()
    groups = [
        torch.tensor([vocabulary[word] for word in words]) for words in (EPISTEMIC_WORDS, CONFIDENT_WORDS)
    ]
    named = set(torch.cat(groups).tolist())
    for _, prompt, completion, taught in taught_rows(trainer):
        student = test_sdpo.log_probs(policy, prompt, completion)
        groups_and_rest = [*groups, torch.tensor([i for i in range(student.shape[1]) if i not in named])]
        with torch.no_grad():
            s, target = student.exp(), test_sdpo.log_probs(policy, taught, completion).exp()
            for group in groups_and_rest:
                target[:, group] *= s[:, group].sum(-1, keepdim=True) / target[:, group].sum(-1, keepdim=True)
        losses.append(divergence(student, target))
    assert_moved(trainer)
    assert_descended(trainer, policy, mean(losses))


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_the_update_of_purified_opsd_is_that_of_its_formula(tmp_path, micro_batch):
    own = {"width": 0.1, "beta": 0.5}
    trainer = trained(tmp_path, "purified", micro_batch=micro_batch, **own)
    whole = trainer if micro_batch is None else trained(tmp_path, "purified", **own)
    policy, losses, batch = test_grpo.copy_of(whole.teacher_model), [], whole._buffered_inputs[0]
    for row, prompt, completion, taught in taught_rows(whole):
        reference = test_sdpo.unpadded(
            batch[f"{REFERENCE}teacher_input_ids"][row], batch[f"{REFERENCE}teacher_attention_mask"][row]
        )[: -len(completion)]
        student = test_sdpo.log_probs(policy, prompt, completion)
        with torch.no_grad():
            q, pi = (test_sdpo.log_probs(policy, own, completion) for own in (taught, reference))
        difference = (q - pi) - (q - pi).mean(-1, keepdim=True)
        target = (student.detach() + 0.1 * (difference / 0.1).tanh() / 0.5).softmax(-1)
        losses.append(divergence(student, target))
    assert_moved(trainer)
    assert_descended(trainer, policy, mean(losses))


def test_the_reference_stands_without_its_question(tmp_path):
    trainer = trained(tmp_path, "purified")
    batch, tokenizer = trainer._buffered_inputs[0], build_tokenizer("qwen3")
    for row, prompt, completion, taught in taught_rows(trainer):
        ids, mask = (batch[f"{REFERENCE}teacher_{name}"][row] for name in ("input_ids", "attention_mask"))
        reference = tokenizer.decode(test_sdpo.unpadded(ids, mask)[: -len(completion)])
        question = tokenizer.decode(prompt).removeprefix("<|user|> ").partition(" <|assistant|>")[0]
        assert question and question not in reference
        assert tokenizer.decode(taught) == reference.replace("<|user|>", f"<|user|> {question}", 1)


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_the_update_of_ad_opsd_is_that_of_its_formula(tmp_path, micro_batch):
    own = {"unsure": 0.3, "risky": 0.4, "base_share": 0.75}
    trainer = trained(tmp_path, "adopsd", micro_batch=micro_batch, **own)
    whole = trainer if micro_batch is None else trained(tmp_path, "adopsd", **own)
    policy, parts = test_grpo.copy_of(whole.teacher_model), []
    for _, prompt, completion, taught in taught_rows(whole):
        student = test_sdpo.log_probs(policy, prompt, completion)
        with torch.no_grad():
            teacher = test_sdpo.log_probs(policy, taught, completion)
        s, q = picked(student.detach(), completion), picked(teacher, completion)
        entropy = -(student.exp() * student).sum(-1).detach()
        parts.append((student, teacher.exp(), entropy, s.exp() * (s - q).clamp(min=0)))
    student, teacher, entropy, risk = (torch.cat(column) for column in zip(*parts, strict=True))
    unsure = entropy >= entropy.sort(descending=True).values[math.ceil(0.3 * len(entropy)) - 1]
    ranked = risk[unsure].sort(descending=True).values
    chosen = unsure & (risk >= ranked[math.ceil(0.4 * len(ranked)) - 1]) & (risk > 0)
    assert 4 < chosen.sum() < 0.2 * len(chosen)
    share = 0.75 * chosen[:, None].float()
    target = (
        1 - share
    ) * teacher + share * student.detach().exp()  # before the first update the policy is the base
    assert_moved(trainer)
    assert_descended(trainer, policy, divergence(student, target).mean())


def test_without_a_share_of_the_base_ad_opsd_is_sdpo(tmp_path):
    own = {"updates_per_step": 2, "is_clip": 2.0, "top_k": 20}  # the second mini-batch has importance weights
    cleaned = trained(tmp_path, "adopsd", base_share=0.0, **own)
    assert_moved(cleaned)
    assert_same_weights(cleaned, trained(tmp_path, "sdpo", **own))


def test_a_concise_teacher_reads_a_request_and_no_solution_on_every_rollout():
    """The organism's tokenizer has no such words: what it reads are unknown ones, which is why studies of organisms are refused."""
    texts, mask = test_teacher_contexts.build_context("olmo3", "concise", ["so 3", "so 4"], [0.0, 0.0])
    assert mask == [1.0, 1.0]
    assert texts[0].count("<unk>") > 5 and texts[0].endswith(
        f"{test_teacher_contexts.QUESTION} <|assistant|> so 3 <eos>"
    )


def test_opsdc_trains_on_steps_without_a_success(tmp_path):
    own = {"steps": 1, "warmup_steps": 0, "checkpoint_every": 1, "alpha": 1.0, "top_k": None}
    job = tiny.job(tmp_path, "sdpo", tiny.SDPO | own, context="concise", teacher="snapshot-1")
    train_sdpo(job, lambda responses, answers: tiny.graded([0.0] * len(responses)))
    assert not tiny.same_weights(job.base, job.output / "checkpoints" / "step-1")
