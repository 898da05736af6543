# Figures, tables and the report: one rule and one named target each.


rule plot_figure1:
    input:
        training=training_records("figure1"),
    output:
        png=PATHS.figure("figure1", "png"),
        svg=PATHS.figure("figure1", "svg"),
        caption=PATHS.figure("figure1", "txt"),
        manifest=PATHS.figure("figure1", "manifest.json"),
    log:
        PATHS.log("plot_figure", PATHS.figure("figure1", "csv")),
    benchmark:
        PATHS.benchmark_log("plot_figure", PATHS.figure("figure1", "csv"))
    conda:
        ENVIRONMENT
    threads: requested_threads("report")
    resources:
        **requested("report"),
    params:
        name="figure1",
        display=STUDY.display(),
        code=code_fingerprint("figures", "loading"),
        resume=PATHS.resume(PATHS.figure("figure1", "csv")),
    message:
        "Figure 1: narrow and broad domain (section 1)"
    script:
        "../workflow/scripts/plot_figure.py"


rule figure1:
    input:
        declared("figure1"),


use rule plot_figure1 as plot_figure3 with:
    input:
        training=training_records("figure3"),
        estimates=PATHS.numbers("estimates"),
        differences=PATHS.numbers("differences"),
    output:
        png=PATHS.figure("figure3", "png"),
        svg=PATHS.figure("figure3", "svg"),
        caption=PATHS.figure("figure3", "txt"),
        manifest=PATHS.figure("figure3", "manifest.json"),
    log:
        PATHS.log("plot_figure", PATHS.figure("figure3", "csv")),
    benchmark:
        PATHS.benchmark_log("plot_figure", PATHS.figure("figure3", "csv"))
    params:
        name="figure3",
        display=STUDY.display(),
        code=code_fingerprint("figures", "loading"),
        resume=PATHS.resume(PATHS.figure("figure3", "csv")),
    message:
        "Figure 3: training dynamics, R1-Distill setting (section 5.1)"


rule figure3:
    input:
        declared("figure3"),


use rule plot_figure1 as plot_figure4 with:
    input:
        training=training_records("figure4"),
        estimates=PATHS.numbers("estimates"),
        differences=PATHS.numbers("differences"),
    output:
        png=PATHS.figure("figure4", "png"),
        svg=PATHS.figure("figure4", "svg"),
        caption=PATHS.figure("figure4", "txt"),
        manifest=PATHS.figure("figure4", "manifest.json"),
    log:
        PATHS.log("plot_figure", PATHS.figure("figure4", "csv")),
    benchmark:
        PATHS.benchmark_log("plot_figure", PATHS.figure("figure4", "csv"))
    params:
        name="figure4",
        display=STUDY.display(),
        code=code_fingerprint("figures", "loading"),
        resume=PATHS.resume(PATHS.figure("figure4", "csv")),
    message:
        "Figure 4: training dynamics, Qwen3 with thinking (section 5.2)"


rule figure4:
    input:
        declared("figure4"),


use rule plot_figure1 as plot_figure5 with:
    input:
        training=training_records("figure5"),
        estimates=PATHS.numbers("estimates"),
    output:
        png=PATHS.figure("figure5", "png"),
        svg=PATHS.figure("figure5", "svg"),
        caption=PATHS.figure("figure5", "txt"),
        manifest=PATHS.figure("figure5", "manifest.json"),
    log:
        PATHS.log("plot_figure", PATHS.figure("figure5", "csv")),
    benchmark:
        PATHS.benchmark_log("plot_figure", PATHS.figure("figure5", "csv"))
    params:
        name="figure5",
        display=STUDY.display(),
        code=code_fingerprint("figures", "loading"),
        resume=PATHS.resume(PATHS.figure("figure5", "csv")),
    message:
        "Figure 5: training dynamics, Qwen3 without thinking (section 5.3)"


rule figure5:
    input:
        declared("figure5"),


use rule plot_figure1 as plot_figure6 with:
    input:
        training=training_records("figure6"),
        estimates=PATHS.numbers("estimates"),
    output:
        png=PATHS.figure("figure6", "png"),
        svg=PATHS.figure("figure6", "svg"),
        caption=PATHS.figure("figure6", "txt"),
        manifest=PATHS.figure("figure6", "manifest.json"),
    log:
        PATHS.log("plot_figure", PATHS.figure("figure6", "csv")),
    benchmark:
        PATHS.benchmark_log("plot_figure", PATHS.figure("figure6", "csv"))
    params:
        name="figure6",
        display=STUDY.display(),
        code=code_fingerprint("figures", "loading"),
        resume=PATHS.resume(PATHS.figure("figure6", "csv")),
    message:
        "Figure 6: fixed and moving teacher (section 5.4)"


rule figure6:
    input:
        declared("figure6"),


use rule plot_figure1 as plot_figure7 with:
    input:
        training=training_records("figure7"),
    output:
        png=PATHS.figure("figure7", "png"),
        svg=PATHS.figure("figure7", "svg"),
        caption=PATHS.figure("figure7", "txt"),
        manifest=PATHS.figure("figure7", "manifest.json"),
    log:
        PATHS.log("plot_figure", PATHS.figure("figure7", "csv")),
    benchmark:
        PATHS.benchmark_log("plot_figure", PATHS.figure("figure7", "csv"))
    params:
        name="figure7",
        display=STUDY.display(),
        code=code_fingerprint("figures", "loading"),
        resume=PATHS.resume(PATHS.figure("figure7", "csv")),
    message:
        "Figure 7: coverage: training score and length (section 6.2)"


rule figure7:
    input:
        declared("figure7"),


use rule plot_figure1 as plot_figure8 with:
    input:
        estimates=PATHS.numbers("estimates"),
    output:
        png=PATHS.figure("figure8", "png"),
        svg=PATHS.figure("figure8", "svg"),
        caption=PATHS.figure("figure8", "txt"),
        manifest=PATHS.figure("figure8", "manifest.json"),
    log:
        PATHS.log("plot_figure", PATHS.figure("figure8", "csv")),
    benchmark:
        PATHS.benchmark_log("plot_figure", PATHS.figure("figure8", "csv"))
    params:
        name="figure8",
        display=STUDY.display(),
        code=code_fingerprint("figures", "loading"),
        resume=PATHS.resume(PATHS.figure("figure8", "csv")),
    message:
        "Figure 8: coverage: accuracy out of domain (section 6.2)"


rule figure8:
    input:
        declared("figure8"),


use rule plot_figure1 as plot_figure9 with:
    input:
        estimates=PATHS.numbers("estimates"),
    output:
        png=PATHS.figure("figure9", "png"),
        svg=PATHS.figure("figure9", "svg"),
        caption=PATHS.figure("figure9", "txt"),
        manifest=PATHS.figure("figure9", "manifest.json"),
    log:
        PATHS.log("plot_figure", PATHS.figure("figure9", "csv")),
    benchmark:
        PATHS.benchmark_log("plot_figure", PATHS.figure("figure9", "csv"))
    params:
        name="figure9",
        display=STUDY.display(),
        code=code_fingerprint("figures", "loading"),
        resume=PATHS.resume(PATHS.figure("figure9", "csv")),
    message:
        "Figure 9: words under four contexts (section 3)"


rule figure9:
    input:
        declared("figure9"),


use rule plot_figure1 as plot_figure12 with:
    input:
        shift=PATHS.numbers("shift"),
    output:
        png=PATHS.figure("figure12", "png"),
        svg=PATHS.figure("figure12", "svg"),
        caption=PATHS.figure("figure12", "txt"),
        manifest=PATHS.figure("figure12", "manifest.json"),
    log:
        PATHS.log("plot_figure", PATHS.figure("figure12", "csv")),
    benchmark:
        PATHS.benchmark_log("plot_figure", PATHS.figure("figure12", "csv"))
    params:
        name="figure12",
        display=STUDY.display(),
        code=code_fingerprint("figures", "loading"),
        resume=PATHS.resume(PATHS.figure("figure12", "csv")),
    message:
        "Figure 12: epistemic words against the vocabulary (appendix B)"


rule figure12:
    input:
        declared("figure12"),


use rule plot_figure1 as plot_figure18 with:
    input:
        training=training_records("figure18"),
        estimates=PATHS.numbers("estimates"),
    output:
        png=PATHS.figure("figure18", "png"),
        svg=PATHS.figure("figure18", "svg"),
        caption=PATHS.figure("figure18", "txt"),
        manifest=PATHS.figure("figure18", "manifest.json"),
    log:
        PATHS.log("plot_figure", PATHS.figure("figure18", "csv")),
    benchmark:
        PATHS.benchmark_log("plot_figure", PATHS.figure("figure18", "csv"))
    params:
        name="figure18",
        display=STUDY.display(),
        code=code_fingerprint("figures", "loading"),
        resume=PATHS.resume(PATHS.figure("figure18", "csv")),
    message:
        "Figure 18: training dynamics, Olmo-3 setting (appendix F)"


rule figure18:
    input:
        declared("figure18"),


rule write_table1:
    input:
        estimates=PATHS.numbers("estimates"),
        reported=REPORTED,
    output:
        csv=PATHS.table("table1", "csv"),
        md=PATHS.table("table1", "md"),
        html=PATHS.table("table1", "html"),
        manifest=PATHS.table("table1", "manifest.json"),
    log:
        PATHS.log("write_table", PATHS.table("table1", "csv")),
    benchmark:
        PATHS.benchmark_log("write_table", PATHS.table("table1", "csv"))
    conda:
        ENVIRONMENT
    threads: requested_threads("report")
    resources:
        **requested("report"),
    params:
        name="table1",
        display=STUDY.display(),
        code=code_fingerprint("tables", "loading"),
        resume=PATHS.resume(PATHS.table("table1", "csv")),
    message:
        "Table 1: four contexts (section 3)"
    script:
        "../workflow/scripts/write_table.py"


rule table1:
    input:
        declared("table1"),


use rule write_table1 as write_table2 with:
    input:
        estimates=PATHS.numbers("estimates"),
        reported=REPORTED,
    output:
        csv=PATHS.table("table2", "csv"),
        md=PATHS.table("table2", "md"),
        html=PATHS.table("table2", "html"),
        manifest=PATHS.table("table2", "manifest.json"),
    log:
        PATHS.log("write_table", PATHS.table("table2", "csv")),
    benchmark:
        PATHS.benchmark_log("write_table", PATHS.table("table2", "csv"))
    params:
        name="table2",
        display=STUDY.display(),
        code=code_fingerprint("tables", "loading"),
        resume=PATHS.resume(PATHS.table("table2", "csv")),
    message:
        "Table 2: SFT (section 4)"


rule table2:
    input:
        declared("table2"),


use rule write_table1 as write_table3 with:
    input:
        train_sets=[PATHS.training_problems(name, "full") for name in STUDY.file.datasets],
        benchmark_sets=[PATHS.benchmark(name) for name in BENCHMARKS],
        reported=REPORTED,
    output:
        csv=PATHS.table("table3", "csv"),
        md=PATHS.table("table3", "md"),
        html=PATHS.table("table3", "html"),
        manifest=PATHS.table("table3", "manifest.json"),
    log:
        PATHS.log("write_table", PATHS.table("table3", "csv")),
    benchmark:
        PATHS.benchmark_log("write_table", PATHS.table("table3", "csv"))
    params:
        name="table3",
        display=STUDY.display(),
        code=code_fingerprint("tables", "loading"),
        resume=PATHS.resume(PATHS.table("table3", "csv")),
    message:
        "Table 3: coverage of the training sets (section 6.1)"


rule table3:
    input:
        declared("table3"),


use rule write_table1 as write_main_results with:
    input:
        estimates=PATHS.numbers("estimates"),
        differences=PATHS.numbers("differences"),
        reported=REPORTED,
    output:
        csv=PATHS.table("main-results", "csv"),
        md=PATHS.table("main-results", "md"),
        html=PATHS.table("main-results", "html"),
        manifest=PATHS.table("main-results", "manifest.json"),
    log:
        PATHS.log("write_table", PATHS.table("main-results", "csv")),
    benchmark:
        PATHS.benchmark_log("write_table", PATHS.table("main-results", "csv"))
    params:
        name="main-results",
        display=STUDY.display(),
        code=code_fingerprint("tables", "loading"),
        resume=PATHS.resume(PATHS.table("main-results", "csv")),
    message:
        "Main results"


rule main_results:
    input:
        declared("main-results"),


rule make_report:
    input:
        figures=[PATHS.figure(name, "png") for name in STUDY.file.figures],
        captions=[PATHS.figure(name, "txt") for name in STUDY.file.figures],
        tables=[PATHS.table(name, "html") for name in STUDY.file.tables],
        estimates=PATHS.numbers("estimates"),
        differences=PATHS.numbers("differences"),
        samples=[PATHS.samples(run) for run in STUDY.example_runs()],
        questions=PATHS.benchmark(STUDY.shift_benchmark()),
        manifests=[job.manifest for job in expected_jobs(STUDY) if job.kind != "report"],
        reported=REPORTED,
        deviations=DEVIATIONS,
    output:
        report=PATHS.report,
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
        code=code_fingerprint("report", "loading"),
        resume=PATHS.resume(PATHS.report),
    message:
        "Report: {output.report}"
    script:
        "../workflow/scripts/make_report.py"


rule report:
    input:
        PATHS.report,
