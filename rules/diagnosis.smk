# Will it hurt? The plan of every run with a self-teacher, measured on its base before training, beside what the run did.

DIAGNOSIS = surroundings("measure_diagnosis", PATHS.diagnosis(), "evaluate")
DIAGNOSED = surroundings("join_diagnosis", PATHS.diagnosed, "numbers")


# mini: 12 s on one core; the base answers with transformers, whatever the study's backend
rule measure_diagnosis:
    input:
        base=base_of,
        data=PATHS.training_problems(),
    output:
        features=PATHS.diagnosis(),
        manifest=DIAGNOSIS.manifest,
    log:
        DIAGNOSIS.log,
    threads: DIAGNOSIS.threads
    resources:
        **DIAGNOSIS.resources,
    params:
        job=job_params(diagnosis.diagnosis_params),
        code=lambda wildcards: code_of(
            "measure_diagnosis", "generation.transformers_backend", *rewarding(run_of(wildcards))
        ),
    message:
        "Diagnosis: {wildcards.model}, context {wildcards.context}, {wildcards.coverage} of {wildcards.dataset} ({wildcards.variant}), replicate {wildcards.replicate}"
    script:
        "../workflow/scripts/measure_diagnosis.py"


rule join_diagnosis:
    input:
        features=[PATHS.diagnosis(run) for run in diagnosis.measured_runs(STUDY)],
        draws=numbers_of("draws", dict.fromkeys(run.model for run in diagnosis.diagnosed_runs(STUDY))),
    output:
        runs=PATHS.diagnosed,
        manifest=DIAGNOSED.manifest,
    log:
        DIAGNOSED.log,
    threads: DIAGNOSED.threads
    resources:
        **DIAGNOSED.resources,
    params:
        job=lambda wildcards: diagnosis.diagnosed_params(STUDY).model_dump(),
        code=code_of("join_diagnosis"),
    message:
        "Runs of self-distillation, with the features of their plans"
    script:
        "../workflow/scripts/join_diagnosis.py"
