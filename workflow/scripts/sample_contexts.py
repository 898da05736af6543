"""Section 3: one model on the same problems under the four contexts (Table 1, equations 2 to 5)."""

from pathlib import Path

from selfdistill.jobs.run_job import LATE, run_job


def main(snakemake, job):
    with job.importing(*LATE[snakemake.params.richness["backend"]]):
        from selfdistill.generation.protocol import Sampling
        from selfdistill.problems.problem import read_problems
        from selfdistill.records.files import write_table
        from selfdistill.records.schemas import samples_schema
        from selfdistill.sampling.contexts import run_section_3
        from selfdistill.sampling.evaluation import load_generator
        from selfdistill.study.sampling import RichnessSettings

    params = snakemake.params.richness
    settings, fields = RichnessSettings.model_validate(params["settings"]), params["fields"]
    frame = run_section_3(
        load_generator(Path(snakemake.input.base), params["thinking"], params["backend"]),
        params["template"],
        read_problems(snakemake.input.problems)[: settings.pool],
        settings,
        Sampling(**params["sampling"]),
        fields["seed"],
        job.progress,
        job.parts,
    )
    constant = {name: value for name, value in fields.items() if name != "context"}
    frame = frame.assign(**constant, step=0, benchmark="section-3")
    write_table(snakemake.output.samples, frame, samples_schema())
    return {"tokens": int(frame["response_tokens"].sum())}


run_job(snakemake, main, warm="generation")
