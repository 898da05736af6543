"""Section 4: D_ug and D_sg, the model's own correct responses of section 3 to the same problems."""

from selfdistill.jobs.run_job import run_job


def main(snakemake, job):
    with job.importing():
        from selfdistill.problems.problem import read_problems
        from selfdistill.records.files import read_table, write_table
        from selfdistill.records.schemas import off_policy_schema, samples_schema
        from selfdistill.sampling.off_policy import build_datasets

    params = snakemake.params.off_policy
    samples = read_table(snakemake.input.samples, samples_schema())
    problems = read_problems(snakemake.input.problems)
    contexts = params["contexts"]
    built = build_datasets(samples, problems, contexts, params["per_problem"], params["trajectories"])
    for context, path in zip(contexts, snakemake.output.data, strict=True):
        write_table(path, built[context], off_policy_schema())
    return {"rows": {context: len(frame) for context, frame in built.items()}}


run_job(snakemake, main)
