"""Make or fetch a benchmark.

The mini study's are chains of the held-out split, which no model is trained on.
"""

from selfdistill.jobs.run_job import run_job


def main(snakemake, job):
    with job.importing():
        from selfdistill.problems.problem import write_problems
        from selfdistill.problems.sources import read_hub_problems
        from selfdistill.seeds import derive_seed

    spec, name = snakemake.params.spec, snakemake.params.benchmark
    if spec["source"] == "organism":
        from selfdistill.organism.chains import make_problem_set

        seed = derive_seed(snakemake.params.seed, "benchmark", name)
        problems = make_problem_set(spec["types"], spec["problems"], seed, "held-out", name)
    else:
        problems = read_hub_problems(name, spec, spec["problems"])
    write_problems(snakemake.output.problems, problems)
    return {"problems": len(problems)}


run_job(snakemake, main)
