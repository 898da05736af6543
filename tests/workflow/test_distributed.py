"""A training rule whose study file asks for two processes starts them, and its outputs are those of one."""

import json

import pandas

RUN = "results/test/runs/qwen3-test/grpo/none/none/chain/full/default/replicate-0/seed-0"


def test_a_job_of_two_processes_gives_the_outputs_of_one(workspace):
    target = f"{RUN}/training.parquet"
    workspace.snakemake(target, "--config", "study=test")
    one = pandas.read_parquet(workspace.root / RUN / "rollouts.parquet")
    workspace.edit(
        "config/test.yaml", "\nruns:", "\nresources:\n  rl: {accelerate: ddp, processes: 2}\n\nruns:"
    )
    assert "train_on_policy" not in workspace.planned(target, "--config", "study=test"), (
        "the result is the same"
    )
    workspace.snakemake(target, "--config", "study=test", "--forcerun", "train_on_policy")
    two = pandas.read_parquet(workspace.root / RUN / "rollouts.parquet")
    pandas.testing.assert_frame_equal(one, two)
    manifest = json.loads(next((workspace.root / RUN).glob("*manifest*.json")).read_text())
    assert manifest["facts"]["processes"] == 2
