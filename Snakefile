# The study of arXiv 2603.24472, from problem sets to report. `snakemake` runs config/mini.yaml, `--config study=NAME` another
# study; every result can be asked for by its path or by name (`snakemake figure3`).
from snakemake.settings.types import DeploymentMethod
from snakemake.utils import min_version

min_version("9.0")


report: "workflow/report/workflow.rst"


# read only with `--sdm apptainer`; docs/cluster.md says how to build it
container: "envs/selfdistill.sif"


include: "rules/common.smk"


rule all:
    default_target: True
    input:
        PATHS.report,
        [PATHS.regraded(grader, "md") for grader in STUDY.file.benchmarks.graders_beside],


include: "rules/problems.smk"
include: "rules/base.smk"
include: "rules/section_3.smk"
include: "rules/off_policy.smk"
include: "rules/on_policy.smk"
include: "rules/evaluate.smk"
include: "rules/diagnosis.smk"
include: "rules/claims.smk"
include: "rules/figures.smk"
include: "rules/tables.smk"
include: "rules/regrade.smk"
include: "rules/report.smk"


# What fetches runs where Snakemake runs, so that compute nodes need no network. A profile that groups problem sets (profiles/slurm)
# takes these to the nodes; they compute little.
localrules:
    fetch_base,
    build_problems,
    build_coverage_subset,


onstart:
    check_library(workflow.basedir)
    check_machine(STUDY, DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method)
    hold_workflow_lock(PATHS.lock)
    check_inputs(STUDY, PATHS)
    check_outputs(PATHS.results)
    if not RETRAIN:
        check_retraining(STUDY, list(workflow.dag.needrun_jobs()))
    print(f"Progress, in a second terminal: {shown.status_command(STUDY)}", file=sys.stderr)
    if workflow.local_exec and STUDY.file.backend == "transformers":
        start_server(PATHS.warm_log)
    # Snakemake's limit of 100 jobs per second lets each look for ready jobs set a timer for the next one. So looks never end, and every finished
    # job adds one more per second: after some hundred jobs Snakemake takes a core for itself.
    workflow.scheduler.job_rate_limiter = None
