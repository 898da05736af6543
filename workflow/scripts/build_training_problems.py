"""Make or fetch a whole training problem set (`full`), in the schema that all scales share."""

from selfdistill.jobs.run_job import run_job


def main(snakemake, job):
    with job.importing():
        from selfdistill.problems.problem import write_problems
        from selfdistill.problems.sources import read_hub_problems
        from selfdistill.seeds import derive_seed

    spec, dataset = snakemake.params.spec, snakemake.params.dataset
    if spec["source"] == "organism":
        from selfdistill.organism.chains import make_problem_set

        seed = derive_seed(snakemake.params.seed, "problems", dataset)
        problems = make_problem_set(spec["types"], spec["problems"], seed, "train", dataset)
    else:
        problems = read_hub_problems(dataset, spec, spec["problems"])
    write_problems(snakemake.output.problems, problems)
    return {"problems": len(problems)}


run_job(snakemake, main)
