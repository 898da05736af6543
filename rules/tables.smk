# Every table that the study declares (selfdistill.study.displays), and a target of its name: `snakemake table1`, `main_results`.


rule write_table:
    input:
        unpack(lambda wildcards: frames_of(wildcards.table)),
        reported=REPORTED,
    output:
        csv=PATHS.table("{table}", "csv"),
        md=PATHS.table("{table}", "md"),
        html=report(
            PATHS.table("{table}", "html"),
            caption="../workflow/report/table.rst",
            category="Tables",
            subcategory=lambda wildcards: TABLES[wildcards.table].place,
            labels=lambda wildcards: {"table": wildcards.table, "shows": TABLES[wildcards.table].title},
        ),
        manifest=PATHS.table("{table}", "manifest.json"),
    log:
        PATHS.log("write_table", PATHS.table("{table}", "csv")),
    benchmark:
        PATHS.benchmark_log("write_table", PATHS.table("{table}", "csv"))
    conda:
        ENVIRONMENT
    threads: requested_threads("report")
    resources:
        **requested("report"),
    params:
        name="{table}",
        title=lambda wildcards: TABLES[wildcards.table].title,
        display=STUDY.display(),
        code=code_fingerprint("report.tables"),
        resume=PATHS.resume(PATHS.table("{table}", "csv")),
    message:
        "{params.name}: {params.title}"
    script:
        "../workflow/scripts/write_table.py"


for table in TABLES:

    rule:
        name:
            table.replace("-", "_")
        input:
            declared(table, PATHS.table, ("csv", "md", "html")),
