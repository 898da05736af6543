"""All numbers that figures and tables show, with intervals, from all samples of the study."""

from selfdistill.jobs.run_job import run_job


def main(snakemake, job):
    with job.importing():
        import pandas

        from selfdistill.records.files import read_table, write_frame
        from selfdistill.records.schemas import samples_schema
        from selfdistill.report.figures.estimates import study_differences, study_estimates
        from selfdistill.report.figures.words import frequency_shifts

    schema, ood = samples_schema(), snakemake.params.ood
    samples = pandas.concat([read_table(path, schema) for path in snakemake.input.samples], ignore_index=True)
    parts = [read_table(path, schema) for path in snakemake.input.section_3]
    section_3 = pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame()
    write_frame(snakemake.output.estimates, study_estimates(samples, section_3, ood))
    write_frame(snakemake.output.differences, study_differences(samples, ood))
    write_frame(snakemake.output.shift, frequency_shifts(samples, snakemake.params.shift_benchmark))
    return {"samples": len(samples)}


run_job(snakemake, main)
