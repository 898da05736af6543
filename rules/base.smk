# Base models: trained from scratch (mini study), made of random weights, fetched from the hub, or unpacked from an installed package.

BASE_MODEL = surroundings("train_base", PATHS.base(), "base")
POLISHED = surroundings("polish_base", PATHS.base(), "base")
RANDOM = surroundings("make_base", PATHS.base(), "base")
FETCHED = surroundings("fetch_base", PATHS.base(), "base")


# mini: three to nine minutes on one core
rule train_base:
    output:
        model=directory(PATHS.base()),
        manifest=BASE_MODEL.manifest,
    log:
        BASE_MODEL.log,
    wildcard_constraints:
        base=one_of(STUDY.bases("organism")),
    priority: 100
    threads: BASE_MODEL.threads
    resources:
        **BASE_MODEL.resources,
    params:
        job=lambda wildcards: jobs.base_params(STUDY, wildcards.base, int(wildcards.replicate)).model_dump(),
        code=code_of("train_base", "grading.strict"),
    message:
        "Base model {wildcards.base}, replicate {wildcards.replicate}: training from scratch"
    script:
        "../workflow/scripts/train_base.py"


# mini: one to three minutes a round on one core
rule polish_base:
    input:
        base=lambda wildcards: PATHS.base(STUDY.base(wildcards.base).of, wildcards.replicate),
    output:
        model=directory(PATHS.base()),
        manifest=POLISHED.manifest,
    log:
        POLISHED.log,
    wildcard_constraints:
        base=one_of(STUDY.bases("polished")),
    priority: 100
    threads: POLISHED.threads
    resources:
        **POLISHED.resources,
    params:
        job=lambda wildcards: jobs.base_params(STUDY, wildcards.base, int(wildcards.replicate)).model_dump(),
        code=code_of("polish_base", "grading.strict"),
    message:
        "Base model {wildcards.base}, replicate {wildcards.replicate}: training on its own correct responses"
    script:
        "../workflow/scripts/polish_base.py"


rule fetch_base:
    output:
        model=directory(PATHS.base()),
        manifest=FETCHED.manifest,
    log:
        FETCHED.log,
    wildcard_constraints:
        base=one_of(STUDY.bases("hub") + STUDY.bases("package")),
        replicate="0",  # released weights are one draw
    priority: 100
    threads: FETCHED.threads
    resources:
        **FETCHED.resources,
        path=lambda wildcards: getattr(STUDY.base(wildcards.base), "path", None) or "",
    params:
        job=lambda wildcards: STUDY.base(wildcards.base).model_dump(),
        # a download is what it is; weights of a package are converted
        code=lambda wildcards: code_of("fetch_base") if wildcards.base in STUDY.bases("package") else "",
    message:
        "Base model {wildcards.base}: fetching"
    script:
        "../workflow/scripts/fetch_base.py"


rule make_base:
    output:
        model=directory(PATHS.base()),
        manifest=RANDOM.manifest,
    log:
        RANDOM.log,
    wildcard_constraints:
        base=one_of(STUDY.bases("random")),
    priority: 100
    threads: RANDOM.threads
    resources:
        **RANDOM.resources,
    params:
        job=lambda wildcards: jobs.base_params(STUDY, wildcards.base, int(wildcards.replicate)).model_dump(),
        code=code_of("make_base"),
    message:
        "Base model {wildcards.base}, replicate {wildcards.replicate}: random weights"
    script:
        "../workflow/scripts/make_base.py"
