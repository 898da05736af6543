# Sections 5 and 6: training on the model's own rollouts.

ON_POLICY_RUN = surroundings("train_on_policy", PATHS.checkpoints(), "rl")


# mini: 1 to 3 minutes on one core; paper: up to three days on eight GPUs
rule train_on_policy:
    input:
        base=base_of,
        data=PATHS.training_problems(),
    output:
        checkpoints=exported(PATHS.checkpoints()),
        training=PATHS.training(),
        rollouts=PATHS.rollouts(),
        manifest=ON_POLICY_RUN.manifest,
    log:
        ON_POLICY_RUN.log,
    wildcard_constraints:
        method=one_of(ON_POLICY),
    priority: 60
    threads: ON_POLICY_RUN.threads
    resources:
        **ON_POLICY_RUN.resources,
        resume_every=checkpointing,
        disk_gb=held(training_gb),
    params:
        job=job_params(jobs.training_params),
        code=trainer_code("train_on_policy"),
    message:
        "Training {wildcards.model} ({wildcards.method}, context {wildcards.context}, teacher {wildcards.teacher}) on {wildcards.coverage} of {wildcards.dataset} ({wildcards.variant}), replicate {wildcards.replicate}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/train_on_policy.py"
