# Every figure of the paper that the study declares (selfdistill.study.displays), and a target of its name: `snakemake figure3`.


rule plot_figure:
    input:
        unpack(lambda wildcards: frames_of(wildcards.figure)),
    output:
        png=report(
            PATHS.figure("{figure}", "png"),
            caption="../workflow/report/figure.rst",
            category="Figures",
            subcategory=lambda wildcards: FIGURES[wildcards.figure].place,
            labels=lambda wildcards: {
                "figure": wildcards.figure,
                "shows": FIGURES[wildcards.figure].title,
            },
        ),
        svg=PATHS.figure("{figure}", "svg"),
        caption=PATHS.figure("{figure}", "txt"),
        manifest=PATHS.figure("{figure}", "manifest.json"),
    log:
        PATHS.log("plot_figure", PATHS.figure("{figure}", "csv")),
    benchmark:
        PATHS.benchmark_log("plot_figure", PATHS.figure("{figure}", "csv"))
    conda:
        ENVIRONMENT
    threads: requested_threads("report")
    resources:
        **requested("report"),
    params:
        name="{figure}",
        title=lambda wildcards: FIGURES[wildcards.figure].title,
        display=STUDY.display(),
        code=code_fingerprint("report.figures"),
        resume=PATHS.resume(PATHS.figure("{figure}", "csv")),
    message:
        "{params.name}: {params.title}"
    script:
        "../workflow/scripts/plot_figure.py"


for figure in FIGURES:

    rule:
        name:
            figure.replace("-", "_")
        input:
            declared(figure, PATHS.figure, ("png", "svg")),
