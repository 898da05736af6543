# Stored samples graded again without a model: `snakemake regrade` by the study's further graders, or `--config grader=NAME`.
REGRADERS = [config["grader"]] if "grader" in config else STUDY.file.benchmarks.graders_beside
REGRADED = surroundings("regrade_samples", PATHS.regraded("{grader}", "csv"), "numbers")


rule regrade_samples:
    input:
        **needed_files(CLAIM_PARTS, STUDY, PATHS),
        all_samples=jobs.graded_files(STUDY, PATHS),
        problems=[file for files in jobs.problem_files(STUDY, PATHS).values() for file in files],
        ledger=LEDGER,
    output:
        csv=PATHS.regraded("{grader}", "csv"),
        md=PATHS.regraded("{grader}", "md"),
        manifest=REGRADED.manifest,
    log:
        REGRADED.log,
    threads: REGRADED.threads
    resources:
        **REGRADED.resources,
    params:
        job=lambda wildcards: {
            "study": str(STUDY.path),
            "draws": {key: getattr(STUDY.file, key) for key in DRAWS},
            "experiments": sorted({entry.experiment for entry in STUDY.file.runs}),
            "models": list(STUDY.models()),
            "parts": as_params(CLAIM_PARTS),
            "grader": wildcards.grader,
        },
        code=lambda wildcards: code_of("regrade_samples", grader_module(wildcards.grader)),
    message:
        "Grading all samples again by {wildcards.grader}"
    script:
        "../workflow/scripts/regrade_samples.py"


rule regrade:
    input:
        [PATHS.regraded(grader, "md") for grader in REGRADERS],
