"""Section 3: one model on the same problems under every context."""

from selfdistill.jobs.run_job import run_job

run_job(snakemake, "selfdistill.sampling.run:sample_section_3")
