"""TRL configurations from the study's settings (paper.md 4.2, 4.3). Every argument that matters is set here; none is left
to a default.

How a step maps to TRL: `generation_batch_size` = prompts x rollouts. An optimizer mini-batch is 1/updates_per_step of
it, split into micro-batches by gradient accumulation, so steps_per_generation = updates_per_step x
gradient_accumulation_steps.
"""

import os
from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig, SFTConfig
from trl.experimental.sdpo import SDPOConfig

from selfdistill.models.prompts import chat_template_kwargs
from selfdistill.seeds import derive_seed
from selfdistill.study.methods.base import RolloutSettings
from selfdistill.study.methods.grpo import GrpoSettings
from selfdistill.study.methods.sdpo import SdpoSettings
from selfdistill.study.methods.sft import SftSettings
from selfdistill.vocabulary.teachers import update_rate, updates_between


def _common(folder: Path, seed: int) -> dict[str, Any]:
    """Return the arguments of all trainers. bf16 and gradient checkpointing, TRL's defaults, are 4 x slower on a CPU."""
    gpu = torch.cuda.is_available()
    return {
        "output_dir": str(folder),
        "seed": derive_seed(seed, "trainer"),
        "bf16": gpu,
        "gradient_checkpointing": gpu,
        "use_cpu": not gpu,
        "dataloader_pin_memory": gpu,
        "max_grad_norm": 1.0,
        "optim": "adamw_torch",
        "adam_beta1": 0.9,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": "none",
        "save_strategy": "steps",
        "save_total_limit": None,
        "save_only_model": False,
        "ddp_timeout": 6 * 3600,  # seconds; a process may wait for the longest responses of the others
    }


def process_count() -> int:
    """Return the number of processes of this training job, which its launcher (torchrun, accelerate) sets."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _split(rows: int, updates: int, micro_batch: int | None, processes: int) -> tuple[int, int]:
    """Return (rows per device and forward pass, accumulation steps) of a batch of `rows` with `updates` updates.

    micro_batch: rows per device and forward pass; None for a whole mini-batch. Raise ValueError if it does not divide evenly.
    """
    if rows % (updates * processes):
        raise ValueError(f"{rows} rollouts must be a multiple of {updates} updates x {processes} processes")
    local = rows // (updates * processes)
    micro = micro_batch or local
    if local % micro:
        raise ValueError(f"micro_batch {micro} must divide the mini-batch of {local} rows per process")
    return micro, local // micro


def _rollout(settings: RolloutSettings, thinking: str, folder: Path, seed: int) -> dict[str, Any]:
    """Return the arguments that GRPO and SDPO share. Raise ValueError if a step does not divide evenly."""
    processes = process_count()
    if settings.prompts % processes:
        raise ValueError(
            f"{settings.prompts} prompts per step must be a multiple of {processes} processes: groups are not split"
        )
    updates = settings.updates_per_step
    micro, accumulation = _split(
        settings.prompts * settings.rollouts, updates, settings.rows_per_pass, processes
    )
    vllm = settings.backend == "vllm"
    return (
        _common(folder, seed)
        | {
            "per_device_train_batch_size": micro,
            "gradient_accumulation_steps": accumulation,
            "steps_per_generation": updates * accumulation,
            "num_generations": settings.rollouts,
            "num_iterations": 1,
            "max_steps": settings.steps * updates,
            "save_steps": settings.checkpoint_every * updates,
            "learning_rate": settings.learning_rate,
            "lr_scheduler_type": "constant_with_warmup",
            "warmup_steps": settings.warmup_steps * updates,
            "weight_decay": settings.weight_decay,
            "adam_beta2": settings.adam_beta2,
            "max_completion_length": settings.max_new_tokens,
            "temperature": settings.temperature,
            "top_p": 1.0,
            "top_k": 0,
            "shuffle_dataset": False,  # the data set is already in the order of use
            "disable_dropout": True,
            "mask_truncated_completions": False,
            "scale_rewards": "none",
            "beta": 0.0,
            "chat_template_kwargs": chat_template_kwargs(thinking),
            "use_vllm": vllm,
        }
        | (
            {
                "vllm_mode": "colocate",
                "vllm_gpu_memory_utilization": settings.vllm_memory,
                "vllm_enable_sleep_mode": settings.vllm_sleep,
                # else vLLM reserves the model's longest context (R1-Distill: 131,072 tokens) and may not start
                "vllm_max_model_length": settings.max_prompt_tokens + settings.max_new_tokens,
            }
            if vllm
            else {}
        )
    )


def grpo_arguments(settings: GrpoSettings, thinking: str, folder: Path, seed: int) -> GRPOConfig:
    """Return GRPO's arguments, as the authors ran it: rewards minus the group's mean, no division by its standard deviation,
    clip 0.2 / 0.28, dual clip 3, no KL.

    `loss_type="dapo"` divides by `num_items_in_batch`, which `GroupRelativeTrainer` sets to the mini-batch's token count (TRL
    rescales the token count of the whole generation batch).
    """
    return GRPOConfig(
        **_rollout(settings, thinking, folder, seed),
        loss_type="dapo",
        epsilon=settings.clip_low,
        epsilon_high=settings.clip_high,
        delta=settings.dual_clip,
        importance_sampling_level="token",
        vllm_importance_sampling_correction=True,
        vllm_importance_sampling_mode="token_truncate",
        vllm_importance_sampling_clip_max=settings.rollout_is_clip,
        log_completions=False,
    )


def sdpo_arguments(
    settings: SdpoSettings, teacher: str, thinking: str, folder: Path, seed: int
) -> SDPOConfig:
    """Return SDPO's arguments, as the authors ran it (distillation only). `SelfDistillationTrainer` adds the demonstrations,
    templates and loss.
    """
    rate = update_rate(teacher)
    return SDPOConfig(
        **_rollout(settings, thinking, folder, seed),
        max_prompt_length=None,
        max_reprompt_len=settings.max_reprompt_tokens or settings.max_prompt_tokens + settings.max_new_tokens,
        distillation_mode="full_logits" if settings.top_k is None else "topk_logits",
        distillation_alpha=settings.alpha,
        distillation_topk=settings.top_k,
        distillation_add_tail=settings.tail,
        distillation_is_clip=settings.is_clip,
        distillation_weight=1.0,
        success_reward_threshold=settings.success_threshold,
        dont_reprompt_on_self_success=True,
        teacher_model_kind="ema" if rate else "base",
        teacher_update_rate=rate,
        teacher_sync_steps=updates_between(teacher, settings.updates_per_step),
        diagnostics_warning_interval=0,
    )


def sft_arguments(settings: SftSettings, folder: Path, seed: int, rows: int) -> SFTConfig:
    """Return SFT's arguments for `rows` training examples: loss on completions, one resume checkpoint per epoch."""
    processes = process_count()
    micro, accumulation = _split(settings.batch_size, 1, settings.micro_batch, processes)
    return SFTConfig(
        **_common(folder, seed),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=settings.epochs,
        save_steps=-(-rows // settings.batch_size),  # updates per epoch, rounded up
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        adam_beta2=settings.adam_beta2,
        max_length=None,
        packing=False,
        completion_only_loss=True,
        shuffle_dataset=False,
    )
