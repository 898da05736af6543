# Samples: every checkpoint on every benchmark, one job per run. Then the numbers of each model, from all its samples.

SAMPLES = surroundings("evaluate", PATHS.samples(), "evaluate")
NUMBERS = surroundings("estimate", PATHS.numbers("estimates"), "numbers")


rule evaluate:
    input:
        model=evaluated_model,
        benchmarks=lambda wildcards: [
            PATHS.benchmark(name) for name in STUDY.benchmarks_of(run_of(wildcards))
        ],
    output:
        samples=PATHS.samples(),
        manifest=SAMPLES.manifest,
    log:
        SAMPLES.log,
    priority: 40
    threads: SAMPLES.threads
    resources:
        **SAMPLES.resources,
    params:
        job=job_params(jobs.evaluation_params),
        code=code_of("evaluate", BACKEND, *GRADING),
    message:
        "Evaluating {wildcards.model} ({wildcards.method}, context {wildcards.context}, teacher {wildcards.teacher}, {wildcards.coverage} of {wildcards.dataset}, {wildcards.variant}), seed {wildcards.seed}"
    script:
        "../workflow/scripts/evaluate.py"


rule estimate:
    input:
        samples=lambda wildcards: [PATHS.samples(run) for run in STUDY.runs_of_model(wildcards.model)],
        section_3=lambda wildcards: [
            PATHS.section_3(model, STUDY.file.data_seed)
            for model in STUDY.section_3_models()
            if model == wildcards.model
        ],
    output:
        estimates=PATHS.numbers("estimates"),
        differences=PATHS.numbers("differences"),
        shift=PATHS.numbers("shift"),
        manifest=NUMBERS.manifest,
    log:
        NUMBERS.log,
    priority: 30
    threads: NUMBERS.threads
    resources:
        **NUMBERS.resources,
    params:
        job=lambda wildcards: jobs.numbers_params(STUDY, wildcards.model).model_dump(),
        code=code_of("estimate"),
    message:
        "Estimates with intervals from all samples of {wildcards.model}"
    script:
        "../workflow/scripts/estimate.py"
