"""Take a coverage subset of a training set; the subsets of a set are nested (section 6.2).

Where the authors' own file of that subset is declared, it is read instead.
"""

import logging

from selfdistill.jobs.run_job import run_job


def main(snakemake, job):
    with job.importing():
        from selfdistill.problems.problem import coverage_subset, read_problems, write_problems

    problems, source = read_problems(snakemake.input.problems), snakemake.params.source
    if source is None:
        subset = coverage_subset(problems, snakemake.params.coverage, snakemake.params.seed)
    else:
        from selfdistill.problems.sources import missing_from, read_hub_problems

        subset = read_hub_problems(snakemake.wildcards.dataset, source)
        if missing := missing_from(subset, problems):
            logging.warning("%d of %d problems are not in the whole set", missing, len(subset))
    write_problems(snakemake.output.problems, subset)
    return {"problems": len(subset)}


run_job(snakemake, main)
