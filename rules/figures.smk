# Every figure that the study declares (registry: selfdistill.study.displays), each with a target of its name,
# with _ for -: `snakemake figure3 dose_response`.

FIGURE = surroundings("plot_figure", PATHS.figure("{figure}", "png"), "report")


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
        manifest=FIGURE.manifest,
    log:
        FIGURE.log,
    threads: FIGURE.threads
    resources:
        **FIGURE.resources,
    params:
        job=lambda wildcards: shown.display_job(STUDY, wildcards.figure).model_dump(),
        code=lambda wildcards: drawing_code("plot_figure", wildcards.figure),
    message:
        "{wildcards.figure}"
    script:
        "../workflow/scripts/plot_figure.py"


for figure in FIGURES:

    rule:
        name:
            figure.replace("-", "_")
        input:
            declared(figure, PATHS.figure, ("png", "svg")),
