# Section 3: the same problems under several contexts.

SECTION_3 = surroundings("sample_section_3", PATHS.section_3(), "section_3")


rule sample_section_3:
    input:
        base=base_of,
        problems=PATHS.training_problems(STUDY.section_3_dataset(), coverage="full"),
    output:
        samples=PATHS.section_3(),
        manifest=SECTION_3.manifest,
    log:
        SECTION_3.log,
    priority: 80
    threads: SECTION_3.threads
    resources:
        **SECTION_3.resources,
    params:
        job=lambda wildcards: jobs.section_3_params(
            STUDY, wildcards.model, int(wildcards.replicate)
        ).model_dump(),
        code=code_of("sample_section_3", BACKEND, *GRADING),
    message:
        "Section 3: {wildcards.model} under every context, replicate {wildcards.replicate}"
    script:
        "../workflow/scripts/sample_section_3.py"


RICHNESS = surroundings("measure_richness", PATHS.richness(), "section_3")


rule measure_richness:
    input:
        base=base_of,
        samples=PATHS.section_3(),
        problems=PATHS.training_problems(STUDY.section_3_dataset(), coverage="full"),
    output:
        richness=PATHS.richness(),
        manifest=RICHNESS.manifest,
    log:
        RICHNESS.log,
    threads: RICHNESS.threads
    resources:
        **RICHNESS.resources,
    params:
        job=lambda wildcards: jobs.richness_params(
            STUDY, wildcards.model, int(wildcards.replicate)
        ).model_dump(),
        code=code_of("measure_richness", "generation.transformers_backend"),
    message:
        "Richness of the contexts: {wildcards.model}, replicate {wildcards.replicate}"
    script:
        "../workflow/scripts/measure_richness.py"
