# Section 4: data sets of the model's own correct responses, and SFT on them.


rule build_off_policy_data:
    input:
        samples=PATHS.section_3(),
        problems=PATHS.training_problems(coverage="full"),
    output:
        data=[PATHS.off_policy(context=context) for context in STUDY.off_policy_contexts()],
        manifest=PATHS.off_policy_manifest(),
    log:
        PATHS.log("build_off_policy_data", PATHS.off_policy_manifest()),
    benchmark:
        PATHS.benchmark_log("build_off_policy_data", PATHS.off_policy_manifest())
    priority: 80
    conda:
        ENVIRONMENT
    threads: requested_threads("sampling.off_policy")
    resources:
        **requested("sampling.off_policy"),
    params:
        off_policy=STUDY.off_policy_params(),
        code=code_fingerprint("sampling.off_policy"),
        resume=PATHS.resume(PATHS.off_policy_manifest()),
    message:
        "Section 4: data sets of {wildcards.model}"
    script:
        "../workflow/scripts/build_off_policy_data.py"


rule train_sft:
    input:
        base=base_of,
        data=PATHS.off_policy(),
    output:
        checkpoints=directory(PATHS.checkpoints(**SFT)),
        training=PATHS.training(**SFT),
        manifest=PATHS.run_manifest(**SFT),
    log:
        PATHS.log("train_sft", PATHS.training(**SFT)),
    benchmark:
        PATHS.benchmark_log("train_sft", PATHS.training(**SFT))
    priority: 50
    conda:
        ENVIRONMENT
    threads: requested_threads("sft")
    resources:
        **requested("sft"),
    params:
        job=training_params(SFT),
        code=code_fingerprint("training.sft"),
        resume=PATHS.resume(PATHS.training(**SFT)),
    message:
        "SFT {wildcards.model} on its {wildcards.context} responses, seed {wildcards.seed}"
    script:
        "../workflow/scripts/train_sft.py"
