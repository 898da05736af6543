# The page of the whole study, and where the time of its jobs went.

JOB_MANIFESTS = [job.manifest for job in expected_jobs(STUDY) if job.kind != "report"]


rule plot_timeline:
    input:
        manifests=JOB_MANIFESTS + quick_manifests(STUDY),
    output:
        png=report(
            PATHS.figure("timeline", "png"),
            caption="../workflow/report/figure.rst",
            category="Report",
            labels={"page": "where the time of the jobs went"},
        ),
        svg=PATHS.figure("timeline", "svg"),
        caption=PATHS.figure("timeline", "txt"),
        manifest=PATHS.figure("timeline", "manifest.json"),
    log:
        PATHS.log("plot_timeline", PATHS.figure("timeline", "csv")),
    benchmark:
        PATHS.benchmark_log("plot_timeline", PATHS.figure("timeline", "csv"))
    conda:
        ENVIRONMENT
    threads: requested_threads("report")
    resources:
        **requested("report"),
    params:
        title="Where the time of the jobs went",
        code=code_fingerprint("report.figures.timeline"),
        resume=PATHS.resume(PATHS.figure("timeline", "csv")),
    message:
        "Timeline of all jobs"
    script:
        "../workflow/scripts/plot_timeline.py"


rule timeline:
    input:
        PATHS.figure("timeline", "png"),
        PATHS.figure("timeline", "svg"),


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
        manifests=JOB_MANIFESTS,
        timeline=PATHS.figure("timeline", "png"),
        timeline_caption=PATHS.figure("timeline", "txt"),
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
        code=code_fingerprint("report.page"),
        resume=PATHS.resume(PATHS.report),
    message:
        "Report: {output.report}"
    script:
        "../workflow/scripts/make_report.py"


rule report:
    input:
        PATHS.report,
