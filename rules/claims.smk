# The claims ledger: verdicts on the claims of the study's file of claims (config/claims.yaml), from the samples (selfdistill.claims), and its picture.
# Targets: `snakemake claims`, `snakemake overview`.
from selfdistill.claims.elsewhere import load_elsewhere
from selfdistill.claims.ledger import ledger_of, load_ledger
from selfdistill.claims.reported import reported_entries
from selfdistill.claims.selection import as_params, needed_files, plan_claims

LEDGER = str(STUDY.ledger)
CLAIM_PARTS = plan_claims(ledger_of(STUDY), STUDY)
ELSEWHERE = os.path.relpath(f"{workflow.basedir}/config/elsewhere.yaml")
# a wrong entry is refused before any job; readings name the paper's claims, whatever the study is judged by
load_elsewhere(ELSEWHERE, load_ledger(f"{workflow.basedir}/config/claims.yaml"))
reported_entries(REPORTED)
VERDICTS = surroundings("judge_claims", PATHS.claims("json"), "numbers")
OVERVIEW = surroundings("draw_overview", PATHS.overview("png"), "report")


rule judge_claims:
    input:
        **needed_files(CLAIM_PARTS, STUDY, PATHS),
        ledger=LEDGER,
        elsewhere=ELSEWHERE,
    output:
        json=PATHS.claims("json"),
        md=PATHS.claims("md"),
        html=PATHS.claims("html"),
        manifest=VERDICTS.manifest,
    log:
        VERDICTS.log,
    priority: 30
    threads: VERDICTS.threads
    resources:
        **VERDICTS.resources,
    params:
        job={"study": STUDY.name, "parts": as_params(CLAIM_PARTS)},
        code=code_of("judge_claims"),
    message:
        "Claims ledger: {output.md}"
    script:
        "../workflow/scripts/judge_claims.py"


rule claims:
    input:
        PATHS.claims("json"),
        PATHS.claims("md"),


# No entry of the registry of figures: it shows claims instead of runs, so the study file has nothing to list for it.
rule draw_overview:
    input:
        ledger=PATHS.claims("json"),
        reported=REPORTED,
    output:
        png=report(
            PATHS.overview("png"),
            caption="../workflow/report/overview.rst",
            category="Claims",
            labels={"figure": "overview", "shows": "the paper beside ours"},
        ),
        svg=PATHS.overview("svg"),
        narrow=PATHS.overview("narrow.png"),
        narrow_svg=PATHS.overview("narrow.svg"),
        caption=PATHS.overview("txt"),
        manifest=OVERVIEW.manifest,
    log:
        OVERVIEW.log,
    priority: 30
    threads: OVERVIEW.threads
    resources:
        **OVERVIEW.resources,
    params:
        code=shown_code("draw_overview"),
    message:
        "Picture of the claims: {output.png}"
    script:
        "../workflow/scripts/draw_overview.py"


rule overview:
    input:
        PATHS.overview("png"),
        PATHS.overview("svg"),
