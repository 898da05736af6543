# The page of the whole study.


rule make_report:
    input:
        figures=[PATHS.figure(name, "png") for name in STUDY.file.figures],
        captions=[PATHS.figure(name, "txt") for name in STUDY.file.figures],
        tables=[PATHS.table(name, "html") for name in STUDY.file.tables],
        estimates=PATHS.numbers("estimates"),
        differences=PATHS.numbers("differences"),
        ledger=PATHS.claims("json"),
        claims=PATHS.claims("html"),
        samples=[PATHS.samples(run) for run in STUDY.example_runs()],
        questions=PATHS.benchmark(STUDY.shift_benchmark()),
        manifests=[job.manifest for job in expected_jobs(STUDY) if job.kind != "report"],
        reported=REPORTED,
        deviations=DEVIATIONS,
        templates=TEMPLATES,
    output:
        report=report(
            PATHS.report,
            caption="../workflow/report/page.rst",
            category="Report",
            labels={"page": "the study on one page"},
        ),
        manifest=PATHS.manifest(PATHS.report),
    log:
        PATHS.log("make_report", PATHS.report),
    benchmark:
        PATHS.benchmark_log("make_report", PATHS.report)
    conda:
        ENVIRONMENT
    threads: requested_threads("report")
    resources:
        **requested("report"),
    params:
        study=STUDY.name,
        display=STUDY.display(),
        code=code_fingerprint("report"),
        resume=PATHS.resume(PATHS.report),
    message:
        "Report: {output.report}"
    script:
        "../workflow/scripts/make_report.py"


rule report:
    input:
        PATHS.report,
