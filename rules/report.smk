# The report: the whole study on one page.

JOB_MANIFESTS = [job.manifest for job in expected_jobs(STUDY) if job.kind != "report"]


PAGE = surroundings("make_report", PATHS.report, "numbers")


rule make_report:
    input:
        figures=[PATHS.figure(name, "png") for name in STUDY.file.figures],
        captions=[PATHS.figure(name, "txt") for name in STUDY.file.figures],
        tables=[PATHS.table(name, "html") for name in STUDY.file.tables],
        estimates=numbers_of("estimates", STUDY.models()),
        differences=numbers_of("differences", STUDY.models()),
        overview=[PATHS.overview(suffix) for suffix in ("png", "narrow.png", "txt")],
        ledger=PATHS.claims("json"),
        claims=PATHS.claims("html"),
        samples=jobs.last_sample_files(STUDY, PATHS, shown.example_runs(STUDY)),
        questions=PATHS.benchmark(STUDY.shift_benchmark()),
        manifests=JOB_MANIFESTS,
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
        manifest=PAGE.manifest,
    log:
        PAGE.log,
    threads: PAGE.threads
    resources:
        **PAGE.resources,
    params:
        job=shown.report_job(STUDY).model_dump(),
        code=shown_code("make_report"),
    message:
        "Report: {output.report}"
    script:
        "../workflow/scripts/make_report.py"


rule report:
    input:
        PATHS.report,
