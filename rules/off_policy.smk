# Section 4: data sets of the model's own correct responses, and training on these.

OFF_POLICY_DATA = surroundings("build_off_policy_data", PATHS.off_policy_manifest(), "off_policy")
MATCHED_DATA = surroundings("match_off_policy_data", PATHS.off_policy_matched(context="all"), "off_policy")
OFF_POLICY_RUN = surroundings("train_off_policy", PATHS.checkpoints(), "sft")


rule build_off_policy_data:
    input:
        samples=PATHS.section_3(),
        problems=PATHS.training_problems(coverage="full"),
    output:
        data=[PATHS.off_policy(context=context) for context in STUDY.off_policy_contexts()],
        manifest=PATHS.off_policy_manifest(),
    log:
        OFF_POLICY_DATA.log,
    priority: 80
    threads: OFF_POLICY_DATA.threads
    resources:
        **OFF_POLICY_DATA.resources,
    params:
        job=STUDY.file.off_policy.model_dump() if STUDY.file.off_policy else {},
        code=code_of("build_off_policy_data"),
    message:
        "Section 4: data sets of {wildcards.model}, replicate {wildcards.replicate}"
    script:
        "../workflow/scripts/build_off_policy_data.py"


rule match_off_policy_data:
    input:
        data=[PATHS.off_policy(context=context) for context in STUDY.off_policy_contexts()],
    output:
        data=[PATHS.off_policy_matched(context=context) for context in STUDY.off_policy_contexts()],
        manifest=MATCHED_DATA.manifest,
    log:
        MATCHED_DATA.log,
    priority: 80
    threads: MATCHED_DATA.threads
    resources:
        **MATCHED_DATA.resources,
    params:
        code=code_of("match_off_policy_data"),
    message:
        "Section 4: data sets of {wildcards.model} with as many tokens, replicate {wildcards.replicate}"
    script:
        "../workflow/scripts/match_off_policy_data.py"


rule train_off_policy:
    input:
        base=base_of,
        data=off_policy_data,
    output:
        checkpoints=exported(PATHS.checkpoints()),
        training=PATHS.training(),
        manifest=OFF_POLICY_RUN.manifest,
    log:
        OFF_POLICY_RUN.log,
    wildcard_constraints:
        method=one_of(OFF_POLICY),
    priority: 50
    threads: OFF_POLICY_RUN.threads
    resources:
        **OFF_POLICY_RUN.resources,
        resume_every=checkpointing,
        disk_gb=held(training_gb),
    params:
        job=job_params(jobs.training_params),
        code=trainer_code("train_off_policy"),
    message:
        "Training {wildcards.model} ({wildcards.method}) on its {wildcards.context} responses, replicate {wildcards.replicate}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/train_off_policy.py"
