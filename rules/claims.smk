# The claims ledger: verdicts on the claims of config/claims.yaml, from the samples (selfdistill.claims). Target: `snakemake claims`.
from selfdistill.claims.ledger import load_ledger
from selfdistill.claims.selection import as_params, needed_files, plan_claims

LEDGER = os.path.relpath(f"{workflow.basedir}/config/claims.yaml")
CLAIM_PARTS = plan_claims(load_ledger(LEDGER), STUDY)
VERDICTS = surroundings("judge_claims", PATHS.claims("json"), "numbers")


rule judge_claims:
    input:
        **needed_files(CLAIM_PARTS, STUDY, PATHS),
        ledger=LEDGER,
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
