"""An on-policy run (sections 5 and 6) from start to end, for GRPO and SDPO: load, train with resume, publish."""

import logging
from typing import TYPE_CHECKING, Any

from transformers import PrinterCallback

from selfdistill.grading.graders import Grader
from selfdistill.models.engine_class import keep_from_engine
from selfdistill.models.response_end import end_token_ids
from selfdistill.problems.problem import read_problems
from selfdistill.study.methods.base import INDEPENDENT
from selfdistill.training.checkpoints import RECORDS, CheckpointStore, load_policy, train_with_resume
from selfdistill.training.datasets import rollout_dataset
from selfdistill.training.job import TrainingJob
from selfdistill.training.progress import ProgressCallback
from selfdistill.training.records import RecordedReward, RolloutRecorder, assemble_records
from selfdistill.training.rewards import Reward, reward_for

if TYPE_CHECKING:  # a run imports one of these trainers only
    from trl import GRPOConfig, GRPOTrainer
    from trl.experimental.sdpo import SDPOConfig, SDPOTrainer

    OnPolicyTrainer = GRPOTrainer | SDPOTrainer
    OnPolicyConfig = GRPOConfig | SDPOConfig

logger = logging.getLogger(__name__)


def build_trainer(
    trainer_class: type["OnPolicyTrainer"],
    job: TrainingJob,
    arguments: "OnPolicyConfig",
    reward: Reward,
    **options: Any,
) -> "OnPolicyTrainer":
    """Return the trainer of a run with data, reward, records and progress; options: for `trainer_class`."""
    settings = job.settings
    model, tokenizer = load_policy(job.base, settings.attn_implementation)
    dataset = rollout_dataset(
        job.data,
        tokenizer,
        job.thinking,
        steps=settings.steps,
        prompts=settings.prompts,
        max_tokens=settings.max_prompt_tokens,
        seed=job.seed,
        coverage=job.run.coverage,
        independent=settings.draws == INDEPENDENT,
    )
    updates = settings.updates_per_step
    ends = end_token_ids(model.generation_config, tokenizer)
    if arguments.use_vllm:
        arguments.generation_kwargs = {"stop_token_ids": list(ends)}
        keep_from_engine(model.config)
    recorder = RolloutRecorder(job.resume / RECORDS, job.run.fields(), updates, ends)
    trainer = trainer_class(
        model,
        reward_funcs=RecordedReward(reward, recorder),
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        callbacks=[recorder, ProgressCallback(job.resume, updates)],
        run_seed=job.seed,
        **options,
    )
    trainer.eos_token_ids = list(ends)  # TRL's own rule can differ from `end_token_ids`
    trainer.rollout_is_clip, trainer.micro_tokens = settings.rollout_is_clip, settings.micro_tokens
    if arguments.use_vllm:
        trainer.seed_engine()
    trainer.remove_callback(PrinterCallback)
    return trainer


def train_on_policy(
    trainer_class: type["OnPolicyTrainer"],
    job: TrainingJob,
    arguments: "OnPolicyConfig",
    reward: Reward | None = None,
    **options: Any,
) -> None:
    """Train a run to its end; write checkpoints/, rollouts.parquet and training.parquet.

    reward: replaces the grader; options: for `trainer_class`.
    """
    settings, updates = job.settings, job.settings.updates_per_step
    store = CheckpointStore(
        job.resume,
        run=str(job.run),
        updates_per_step=updates,
        exports=settings.exported_steps,
        updates=settings.steps * updates,
        resume_every=job.resume_every,
        dtype=settings.export_dtype,
    )
    with Grader(settings.grader) as grader:
        reward = reward or reward_for(read_problems(job.data), grader)
        trainer = build_trainer(trainer_class, job, arguments, reward, **options)
        train_with_resume(trainer, store)
    if trainer.is_world_process_zero():
        store.publish(job.output / "checkpoints")
        assemble_records(job.resume / RECORDS, job.output, settings.steps)
