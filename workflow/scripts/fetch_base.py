"""Fetch released weights from the Hugging Face hub, at the revision that the study names."""

from selfdistill.job import run_job


def main(snakemake, job):
    from huggingface_hub import HfApi, snapshot_download

    spec = snakemake.params.spec
    revision = HfApi().model_info(spec["repo_id"], revision=spec["revision"]).sha
    snapshot_download(spec["repo_id"], revision=revision, local_dir=snakemake.output.model)
    return {"repo_id": spec["repo_id"], "commit": revision}


run_job(snakemake, main)
