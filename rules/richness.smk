# Section 3: the same problems under four contexts.


rule sample_contexts:
    input:
        base=base_of,
        problems=PATHS.training_problems(STUDY.section_3_dataset(), "full"),
    output:
        samples=PATHS.section_3(),
        manifest=PATHS.manifest(PATHS.section_3()),
    log:
        PATHS.log("sample_contexts", PATHS.section_3()),
    benchmark:
        PATHS.benchmark_log("sample_contexts", PATHS.section_3())
    priority: 80
    conda:
        ENVIRONMENT
    threads: requested_threads("richness")
    resources:
        **requested("richness"),
    params:
        richness=lambda wildcards: STUDY.richness_params(wildcards.model),
        code=code_fingerprint("sampling.contexts", BACKEND),
        resume=PATHS.resume(PATHS.section_3()),
    message:
        "Section 3: {wildcards.model} under four contexts"
    script:
        "../workflow/scripts/sample_contexts.py"
