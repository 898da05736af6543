"""The claims ledger of a study: effects, intervals and verdicts from its samples, as JSON, Markdown and HTML."""

from selfdistill.jobs.run_job import run_job


def main(snakemake, job):
    with job.importing():
        import json

        from selfdistill.claims.judge import as_record, judge_claims, judge_part
        from selfdistill.claims.ledger import load_ledger
        from selfdistill.claims.page import counts_of, to_html, to_markdown
        from selfdistill.claims.plan import from_params
        from selfdistill.records.files import write_text
        from selfdistill.report.loading import claim_frames

    ledger, parts = load_ledger(snakemake.input.ledger), from_params(snakemake.params.parts)
    frames = claim_frames(snakemake.input, parts)
    results = [judge_part(part, frames, ledger.alpha) for part in parts]
    record = as_record(ledger, snakemake.params.study, judge_claims(ledger, results))
    write_text(snakemake.output.json, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    write_text(snakemake.output.md, to_markdown(record))
    write_text(snakemake.output.html, to_html(record))
    return counts_of(record)


run_job(snakemake, main)
