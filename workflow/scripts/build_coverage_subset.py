"""Take a coverage subset of a training set; the subsets of a set are nested (section 6.2)."""

from selfdistill.job import run_job


def main(snakemake, job):
    from selfdistill.problems import coverage_subset, read_problems, write_problems

    problems = read_problems(snakemake.input.problems)
    subset = coverage_subset(problems, snakemake.params.coverage, snakemake.params.seed)
    write_problems(snakemake.output.problems, subset)
    return {"problems": len(subset)}


run_job(snakemake, main)
