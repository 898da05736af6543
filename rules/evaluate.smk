# Samples: every checkpoint on every benchmark, one job a run; then all numbers of the study from all samples.


rule evaluate_base:
    input:
        base=base_of,
        benchmarks=evaluated_on(BASE),
    output:
        samples=PATHS.samples(**BASE),
        manifest=PATHS.manifest(PATHS.samples(**BASE)),
    log:
        PATHS.log("evaluate_base", PATHS.samples(**BASE)),
    benchmark:
        PATHS.benchmark_log("evaluate_base", PATHS.samples(**BASE))
    priority: 40
    conda:
        ENVIRONMENT
    threads: requested_threads("evaluate")
    resources:
        **requested("evaluate"),
    params:
        evaluation=evaluation_params(BASE),
        code=code_fingerprint("sampling.evaluation", BACKEND),
        resume=PATHS.resume(PATHS.samples(**BASE)),
    message:
        "Evaluating {wildcards.model} before training, seed {wildcards.seed}"
    script:
        "../workflow/scripts/evaluate_base.py"


rule evaluate_run:
    input:
        checkpoints=PATHS.checkpoints(),
        benchmarks=evaluated_on({}),
    output:
        samples=PATHS.samples(),
        manifest=PATHS.manifest(PATHS.samples()),
    log:
        PATHS.log("evaluate_run", PATHS.samples()),
    benchmark:
        PATHS.benchmark_log("evaluate_run", PATHS.samples())
    priority: 40
    conda:
        ENVIRONMENT
    threads: requested_threads("evaluate")
    resources:
        **requested("evaluate"),
    params:
        evaluation=evaluation_params({}),
        code=code_fingerprint("sampling.evaluation", BACKEND),
        resume=PATHS.resume(PATHS.samples()),
    message:
        "Evaluating {wildcards.method} {wildcards.model} ({wildcards.context}, {wildcards.teacher}, {wildcards.coverage} of {wildcards.dataset}, {wildcards.variant}), seed {wildcards.seed}"
    script:
        "../workflow/scripts/evaluate_run.py"


rule estimate:
    input:
        samples=[PATHS.samples(run) for run in STUDY.base_runs() + STUDY.runs()],
        section_3=[PATHS.section_3(model) for model in STUDY.section_3_models()],
    output:
        estimates=PATHS.numbers("estimates"),
        differences=PATHS.numbers("differences"),
        shift=PATHS.numbers("shift"),
        manifest=PATHS.manifest(PATHS.numbers("estimates")),
    log:
        PATHS.log("estimate", PATHS.numbers("estimates")),
    benchmark:
        PATHS.benchmark_log("estimate", PATHS.numbers("estimates"))
    priority: 30
    conda:
        ENVIRONMENT
    threads: requested_threads("report")
    resources:
        **requested("report"),
    params:
        ood=STUDY.ood(),
        shift_benchmark=STUDY.shift_benchmark(),
        code=code_fingerprint("report.figures.estimates", "report.figures.words"),
        resume=PATHS.resume(PATHS.numbers("estimates")),
    message:
        "Estimates with intervals from all samples"
    script:
        "../workflow/scripts/estimate.py"
