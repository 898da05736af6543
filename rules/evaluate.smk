# Samples: one job per checkpoint, on its benchmarks, and one per run and intervention on the epistemic words. Then the numbers of each model, from all its samples.

SAMPLES = surroundings("evaluate", PATHS.samples(), "evaluate")
NUMBERS = surroundings("estimate", PATHS.numbers("estimates"), "numbers")


rule evaluate:
    input:
        model=evaluated_model,
        benchmarks=lambda wildcards: [
            PATHS.benchmark(name) for name in STUDY.benchmarks_at(run_of(wildcards), step_of(wildcards))
        ],
    output:
        samples=PATHS.samples(),
        manifest=SAMPLES.manifest,
    log:
        SAMPLES.log,
    wildcard_constraints:
        step=f"[0-9]+|{runs.LAST}",
    # above training: models are evaluated, and deleted if the study says so, before others are made
    priority: 70
    threads: SAMPLES.threads
    resources:
        **SAMPLES.resources,
        disk_gb=held(evaluation_gb),
    params:
        job=lambda wildcards: jobs.evaluation_params(
            STUDY, run_of(wildcards), step_of(wildcards)
        ).model_dump(),
        code=code_of("evaluate", BACKEND, *GRADING),
    message:
        "Evaluating {wildcards.model} ({wildcards.method}, context {wildcards.context}, teacher {wildcards.teacher}, {wildcards.coverage} of {wildcards.dataset}, {wildcards.variant}), replicate {wildcards.replicate}, seed {wildcards.seed}, step {wildcards.step}"
    script:
        "../workflow/scripts/evaluate.py"


INTERVENTION = surroundings("evaluate_intervention", PATHS.intervention(), "evaluate")


rule evaluate_intervention:
    input:
        model=evaluated_model,
        base=base_of,
        benchmarks=lambda wildcards: [
            PATHS.benchmark(name) for name in STUDY.benchmarks_of(run_of(wildcards))
        ],
    output:
        samples=PATHS.intervention(),
        manifest=INTERVENTION.manifest,
    log:
        INTERVENTION.log,
    priority: 70
    threads: INTERVENTION.threads
    resources:
        **INTERVENTION.resources,
        disk_gb=held(evaluation_gb),
    params:
        job=lambda wildcards: jobs.intervention_params(
            STUDY, run_of(wildcards), wildcards.intervention
        ).model_dump(),
        code=code_of("evaluate_intervention", BACKEND, *GRADING),
    message:
        "Evaluating {wildcards.model} ({wildcards.method}, context {wildcards.context}, teacher {wildcards.teacher}, {wildcards.coverage} of {wildcards.dataset}, {wildcards.variant}), replicate {wildcards.replicate}, seed {wildcards.seed}, intervention {wildcards.intervention}"
    script:
        "../workflow/scripts/evaluate_intervention.py"


rule estimate:
    input:
        samples=lambda wildcards: jobs.sample_files(STUDY, PATHS, STUDY.runs_of_model(wildcards.model)),
        last=lambda wildcards: jobs.last_sample_files(STUDY, PATHS, STUDY.runs_of_model(wildcards.model)),
        section_3=lambda wildcards: [
            PATHS.section_3(model, replicate)
            for model, replicate in STUDY.section_3_draws()
            if model == wildcards.model
        ],
    output:
        estimates=PATHS.numbers("estimates"),
        differences=PATHS.numbers("differences"),
        shift=PATHS.numbers("shift"),
        draws=PATHS.numbers("draws"),
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
