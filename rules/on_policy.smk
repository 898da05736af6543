# Sections 5 and 6: GRPO and SDPO.


# mini: 1 to 3 minutes on one core; paper: about a day on four GPUs
rule train_grpo:
    input:
        base=base_of,
        data=PATHS.training_problems(),
    output:
        checkpoints=directory(PATHS.checkpoints(**GRPO)),
        training=PATHS.training(**GRPO),
        rollouts=PATHS.rollouts(**GRPO),
        manifest=PATHS.run_manifest(**GRPO),
    log:
        PATHS.log("train_grpo", PATHS.training(**GRPO)),
    benchmark:
        PATHS.benchmark_log("train_grpo", PATHS.training(**GRPO))
    priority: 60
    conda:
        ENVIRONMENT
    threads: requested_threads("rl")
    resources:
        **requested("rl"),
    params:
        job=training_params(GRPO),
        code=code_fingerprint("training.grpo"),
        resume=PATHS.resume(PATHS.training(**GRPO)),
    message:
        "GRPO {wildcards.model} on {wildcards.coverage} of {wildcards.dataset} ({wildcards.variant}), seed {wildcards.seed}"
    script:
        "../workflow/scripts/train_grpo.py"


# mini: 1 to 3 minutes on one core; paper: about a day on four GPUs
rule train_sdpo:
    input:
        base=base_of,
        data=PATHS.training_problems(),
    output:
        checkpoints=directory(PATHS.checkpoints(**SDPO)),
        training=PATHS.training(**SDPO),
        rollouts=PATHS.rollouts(**SDPO),
        manifest=PATHS.run_manifest(**SDPO),
    log:
        PATHS.log("train_sdpo", PATHS.training(**SDPO)),
    benchmark:
        PATHS.benchmark_log("train_sdpo", PATHS.training(**SDPO))
    priority: 60
    conda:
        ENVIRONMENT
    threads: requested_threads("rl")
    resources:
        **requested("rl"),
    params:
        job=training_params(SDPO),
        code=code_fingerprint("training.sdpo"),
        resume=PATHS.resume(PATHS.training(**SDPO)),
    message:
        "SDPO {wildcards.model}, {wildcards.context}, {wildcards.teacher} teacher, on {wildcards.coverage} of {wildcards.dataset} ({wildcards.variant}), seed {wildcards.seed}"
    script:
        "../workflow/scripts/train_sdpo.py"
