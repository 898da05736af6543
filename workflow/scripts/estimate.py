"""All numbers that figures and tables show, with intervals, from all samples of the study."""

from selfdistill.job import run_job


def main(snakemake, job):
    with job.importing():
        import pandas

        from selfdistill.artifacts import read_table, samples_schema, write_frame
        from selfdistill.figures.estimates import study_differences, study_estimates
        from selfdistill.figures.words import frequency_shifts

    schema, ood = samples_schema(), snakemake.params.ood
    samples = pandas.concat([read_table(path, schema) for path in snakemake.input.samples], ignore_index=True)
    parts = [read_table(path, schema) for path in snakemake.input.section_3]
    section_3 = pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame()
    write_frame(snakemake.output.estimates, study_estimates(samples, section_3, ood))
    write_frame(snakemake.output.differences, study_differences(samples, ood))
    write_frame(snakemake.output.shift, frequency_shifts(samples, snakemake.params.shift_benchmark))
    return {"samples": len(samples)}


run_job(snakemake, main)
