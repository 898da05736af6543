# Every table that the study declares (registry: selfdistill.study.displays), each with a target of its name,
# with _ for -: `snakemake table1 main_results`.

TABLE = surroundings("write_table", PATHS.table("{table}", "csv"), "report")


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
        manifest=TABLE.manifest,
    log:
        TABLE.log,
    threads: TABLE.threads
    resources:
        **TABLE.resources,
    params:
        job=lambda wildcards: shown.display_job(STUDY, wildcards.table).model_dump(),
        code=lambda wildcards: drawing_code("write_table", wildcards.table),
    message:
        "{wildcards.table}"
    script:
        "../workflow/scripts/write_table.py"


for table in TABLES:

    rule:
        name:
            table.replace("-", "_")
        input:
            declared(table, PATHS.table, ("csv", "md", "html")),
