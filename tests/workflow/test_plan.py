"""What Snakemake plans: every study, the cluster profile, refused configs, named targets; all without running a job."""

import re
import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yte
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string

from selfdistill.study.load import load_study

from .conftest import REPOSITORY

TWO_STEPS = "results/two_steps/runs/deepseek-7b/grpo/none/none/dapo/full/default/replicate-0/seed-0"
PAPER = ("--config", "study=paper")


def processor_seconds():
    """Processor time of finished child processes; unlike wall time it does not tell of other work on the machine."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize(
    "study", ["mini", "beyond", "test", "paper", "single_gpu", "smollm", "smoke_gpu", "smoke_random"]
)
def test_dry_run_of_every_study_is_quick(workspace, study):
    started = processor_seconds()
    planned = workspace.planned("--config", f"study={study}")
    assert processor_seconds() - started < 10
    assert planned["make_report"] == 1
    trained = planned.get("train_off_policy", 0) + planned.get("train_on_policy", 0)
    assert planned["evaluate"] > trained > 0


def test_inputs_are_all_that_is_fetched_for_a_study(workspace):
    whole, inputs = workspace.planned(*PAPER), workspace.planned("inputs", *PAPER)
    fetched = ("fetch_base", "build_problems", "build_coverage_subset")
    assert inputs == {rule: whole[rule] for rule in fetched if rule in whole} | {"inputs": 1}


def test_each_plan_is_measured_once_and_needs_no_training(workspace):
    study = ("--config", "study=test")
    planned = workspace.planned("diagnosis", "prediction", *study)
    assert (planned["measure_diagnosis"], planned["join_diagnosis"]) == (5, 1)
    assert planned["write_table"] == planned["plot_figure"] == 1
    alone = "results/test/diagnosis/qwen3-test/sdpo/solution/fixed/chain/8/default/replicate-0/seed-0.parquet"
    assert set(workspace.planned(alone, *study)) == {
        *("train_base", "build_problems", "build_coverage_subset", "measure_diagnosis")
    }
    shared = alone.replace(
        "qwen3-test/sdpo/solution/fixed/chain/8", "r1-test/sdpo/solution/ema-0.05/chain/full"
    )
    assert shared not in workspace.snakemake("-n", "diagnosis", *study)
    assert "tables.diagnosis: is not declared" in workspace.snakemake("-n", "diagnosis", *PAPER, fails=True)


def test_released_checkpoints_are_only_evaluated(workspace):
    planned = workspace.planned("--config", "study=released")
    assert planned["evaluate"] == 11
    assert not [rule for rule in planned if rule.startswith("train")]


def test_mini_is_the_default_study(workspace):
    assert workspace.planned()["train_base"] == 3


def test_cluster_profile_plans_the_paper_by_its_short_name(workspace):
    output = workspace.snakemake("-n", "--profile", "slurm")
    assert "Using profiles slurm and workflow specific profile profiles/default" in output
    assert "Base model qwen3-8b: fetching" in output
    assert "results/paper/report.html" in output
    assert output.count("Group job problems") == output.count("Group job displays") == 1


def plan_in_full(workspace, *arguments: str, **options) -> str:
    """A dry run that shows all of each job: Snakemake shows only the message of a rule that has one."""
    for file in (workspace.root / "rules").glob("*.smk"):
        file.write_text(re.sub(r'\n    message:\n        ".*"', "", file.read_text()))
    return workspace.snakemake("-n", *arguments, **options)


def resources_of(output: str, rule: str) -> str:
    """The line of resources of the first job of a rule in such a dry run."""
    return re.search(rf"^\w*rule {rule}:.*?^    resources: (.*?)$", output, re.MULTILINE | re.DOTALL)[1]


TRAINING = ("train_on_policy", "train_off_policy")


def test_gpus_of_a_job_are_on_one_node_and_its_attempts_are_counted(workspace):
    output = plan_in_full(workspace, "--profile", "slurm")
    for rule in ("train_on_policy", "train_off_policy", "evaluate", "sample_section_3"):
        asked = resources_of(output, rule)
        assert "nodes=1" in asked and "attempt=1" in asked
    assert "nodes=" not in resources_of(output, "fetch_base")
    held = {rule: int(re.search(r"disk_gb=(\d+)", resources_of(output, rule))[1]) for rule in TRAINING}
    assert all(50 < size < 1000 for size in held.values())
    assert re.search(r"^rule evaluate:.*?^    priority: (\d+)$", output, re.M | re.S)[1] == "70"
    assert all(
        priority < "70"
        for priority in re.findall(r"^rule train_\w+policy:.*?priority: (\d+)$", output, re.M | re.S)
    )
    call = SimpleNamespace(resources={"nodes": 1, "gpu": 4, "tasks_per_gpu": 0}, threads=32)
    given = dict.fromkeys(("run_uuid", "slurm_logfile", "comment_str", "account", "partition", "workdir"), "")
    assert " --nodes=1 " in get_submit_command(call, given)


class Asked(dict):
    """Resources of a job, by key and by attribute as Snakemake's."""

    __getattr__ = dict.__getitem__


def test_a_training_on_several_nodes_asks_for_one_task_per_node(workspace):
    workspace.edit("config/paper.yaml", "rl: {threads: 32,", "rl: {nodes: 2, threads: 32,")
    asked = resources_of(plan_in_full(workspace, "--profile", "slurm"), "train_on_policy")
    wanted = {"nodes=2", "tasks=2", "mpi=srun", "gpu=8", "gres=gpu:4", "tasks_per_gpu=0"}
    assert wanted <= set(asked.split(", ")), asked
    resources = Asked(nodes=2, tasks=2, mpi="srun", gpu=8, gres="gpu:4", tasks_per_gpu=0)
    call = SimpleNamespace(resources=resources, threads=32)
    given = dict.fromkeys(("run_uuid", "slurm_logfile", "comment_str", "account", "partition", "workdir"), "")
    command = get_submit_command(call, given) + set_gres_string(call)
    assert re.findall(r"--(?:nodes|ntasks|cpus|gres|gpus)\S*", command) == [
        "--nodes=2", "--ntasks=2", "--cpus-per-task=32", "--gres=gpu:4", "--gpus=8",
    ]  # fmt: skip


def test_a_job_that_fails_twice_in_the_same_way_is_not_worked_on_again(workspace):
    workspace.edit(
        "config/models.yaml", "    steps: 150\n", "    steps: 1\n    acceptance: {arithmetic: [1.0, null]}\n"
    )
    target = "results/test/bases/r1-test/replicate-0/model"
    output = workspace.snakemake(target, "--config", "study=test", "--retries", "3", fails=True)
    assert output.count("Trying to restart job") == 3
    assert "NoProgress: not tried again: the last 2 attempts got no further" in output


def test_snakemake_looks_for_jobs_only_when_one_has_finished(workspace):
    sets = ("held-out/in-domain", "held-out/shorter", "train/chain", "train/narrow")
    targets = [f"results/test/problems/{name}/replicate-0/full.parquet" for name in sets]
    output = workspace.snakemake(*targets, "--config", "study=test", "--cores", "1", "--verbose")
    jobs = output.count("Finished jobid")
    assert jobs == len(targets)
    assert output.count("Ready jobs:") <= jobs


ASK_WHERE = """
import atexit  # groups of a profile are known after the Snakefile is read
atexit.register(lambda: print("local:", *sorted(workflow._localrules - set(workflow.group_settings.overwrite_groups))))
"""


def local_rules(workspace, **environment) -> set[str]:
    """Rules whose jobs run where Snakemake runs, by Snakemake's own rule (`Workflow.is_local`), which a dry run does not tell."""
    output = workspace.snakemake("-n", "table3", "--profile", "slurm", environment=environment)
    return set(re.search(r"^local: (.*)$", output, re.MULTILINE)[1].split())


def test_what_fetches_runs_where_snakemake_runs(workspace):
    (workspace.root / "Snakefile").write_text((workspace.root / "Snakefile").read_text() + ASK_WHERE)
    assert local_rules(workspace) == {"fetch_base"}, "problem sets share an allocation"
    fetching = {"fetch_base", "build_problems", "build_coverage_subset"}
    assert local_rules(workspace, SELFDISTILL_OFFLINE_NODES="1") == fetching


def test_a_base_is_told_its_folder_and_a_plan_does_not_depend_on_it(workspace):
    target = "results/paper/bases/qwen3-8b/replicate-0/model"
    assert "path=," in f"{resources_of(plan_in_full(workspace, target, *PAPER), 'fetch_base')},"
    workspace.edit(
        "config/models.yaml", "repo_id: Qwen/Qwen3-8B,", "repo_id: Qwen/Qwen3-8B, path: /models/q8,"
    )
    assert "path=/models/q8" in resources_of(plan_in_full(workspace, target, *PAPER), "fetch_base")


def profile_of(monkeypatch, **variables):
    """profiles/slurm as Snakemake reads it, with these variables of SELFDISTILL_* and no others."""
    for name in ("ACCOUNT", "PARTITION", "GPU_PARTITION", "SBATCH", "SIGNAL_SECONDS", "OFFLINE_NODES"):
        monkeypatch.delenv(f"SELFDISTILL_{name}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(f"SELFDISTILL_{name}", value)
    return yte.process_yaml((REPOSITORY / "profiles/slurm/config.yaml").read_text(), require_use_yte=True)


def test_cluster_profile_names_no_account_and_partition_of_its_own(monkeypatch):
    profile = profile_of(monkeypatch)
    named = [profile["default-resources"], *profile["set-resources"].values()]
    assert not [name for names in named for name in names if name in ("slurm_account", "slurm_partition")]
    assert {
        rule
        for rule, names in profile["set-resources"].items()
        if "--signal=TERM@" in names.get("slurm_extra", "")
    } == {
        "train_off_policy",
        "train_on_policy",
    }


def test_cluster_profile_takes_account_and_partitions_from_the_environment(monkeypatch):
    profile = profile_of(
        monkeypatch, ACCOUNT="lab", PARTITION="cpu", GPU_PARTITION="h100", SBATCH="--constraint=nvme"
    )
    default, rules = profile["default-resources"], profile["set-resources"]
    assert (default["slurm_account"], default["slurm_partition"]) == ("'lab'", "'cpu'")
    partitions = {rule: names.get("slurm_partition") for rule, names in rules.items()}
    text = "".join(path.read_text() for path in (REPOSITORY / "rules").glob("*.smk"))
    stages, paper = (
        re.findall(r'surroundings\("(\w+)", .*"(\w+)"\)', text),
        load_study(REPOSITORY / "config/paper.yaml"),
    )
    with_gpus = {rule for rule, stage in stages if paper.resources_for(stage).gpus}
    assert {rule for rule, partition in partitions.items() if partition == "'h100'"} == with_gpus
    assert partitions["plot_figure"] is None
    for extra in (default["slurm_extra"], rules["train_off_policy"]["slurm_extra"]):
        assert "--constraint=nvme" in extra
        assert "--open-mode=append" in extra
    assert (
        profile_of(monkeypatch, PARTITION="all")["set-resources"]["train_on_policy"]["slurm_partition"]
        == "'all'"
    )


def signal_of(profile) -> set[str]:
    """Options of the trainings' signal in a profile."""
    extras = [names.get("slurm_extra", "") for names in profile["set-resources"].values()]
    return {word.strip("'") for extra in extras for word in extra.split() if "--signal" in word}


def test_cluster_profile_takes_the_lead_time_of_the_signal_from_the_environment(monkeypatch):
    assert signal_of(profile_of(monkeypatch)) == {"--signal=TERM@1200"}
    assert signal_of(profile_of(monkeypatch, SIGNAL_SECONDS="4500")) == {"--signal=TERM@4500"}


def cores_of_default_profile(monkeypatch, *arguments, **environment):
    """`cores` of profiles/default for a call with these arguments and environment; None if it sets none."""
    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["snakemake", *arguments])
    text = (REPOSITORY / "profiles/default/config.yaml").read_text()
    return yte.process_yaml(text, require_use_yte=True).get("cores")


def test_default_profile_leaves_the_cores_to_another_profile_however_it_is_named(monkeypatch):
    assert cores_of_default_profile(monkeypatch) == 2
    assert cores_of_default_profile(monkeypatch, "--profile", "slurm") is None
    assert cores_of_default_profile(monkeypatch, "--profile=slurm") is None
    assert cores_of_default_profile(monkeypatch, SNAKEMAKE_PROFILE="slurm") is None


def test_lint_is_clean(workspace):
    assert "good condition" in workspace.snakemake("--lint")


@pytest.mark.parametrize(
    ("target", "rule"), [("figure3", "plot_figure"), ("table3", "write_table"), ("report", "make_report")]
)
def test_named_targets(workspace, target, rule):
    planned = workspace.planned(target)
    assert planned[rule] == 1
    assert ("make_report" in planned) == (target == "report")
    assert ("train_on_policy" in planned) == (target != "table3")


def test_target_that_the_study_does_not_declare_is_refused_with_the_key(workspace):
    output = workspace.snakemake("-n", "figure18", "--config", "study=test", fails=True)
    assert "figures.figure18: is not declared; allowed: figure1" in output


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps: 40", "stepz: 40", "config/mini.yaml: training.rl.stepz: unknown key"),
        ("teachers: [fixed]", "teachers: []", "sdpo needs a teacher; allowed: fixed"),
        (
            "[1, 8, 64, 512, full]",
            "[1, 8, 64, 512, 5120, full]",
            "coverages: 5120 is more than the data set chain holds",
        ),
        ("seeds: [0]", "seeds: zero", "config/mini.yaml: seeds: Input should be a valid list"),
    ],
)
def test_bad_config_is_refused_before_the_plan(workspace, old, new, message):
    workspace.edit("config/mini.yaml", old, new)
    output = workspace.snakemake("-n", fails=True)
    assert message in output
    assert "Job stats" not in output


def test_the_smoke_studies_run_every_rule_of_the_papers(workspace):
    """So the ladder of docs/cluster.md ends without a rule that was never tried."""
    paper, gpu, random = (
        set(workspace.planned("--config", f"study={name}")) for name in ("paper", "smoke_gpu", "smoke_random")
    )
    assert paper - gpu == set()
    assert paper - random == {"fetch_base"}


def test_the_test_study_runs_every_rule_of_those_with_results(workspace):
    test, mini, beyond = (
        set(workspace.planned("--config", f"study={name}")) for name in ("test", "mini", "beyond")
    )
    assert (mini | beyond) - test == set()


def test_unknown_study_and_other_config_keys_are_refused(workspace):
    output = workspace.snakemake("-n", "--config", "study=mimi", fails=True)
    assert "no such study file; allowed: beyond, mini, paper" in output
    assert "did you mean mini?" in output
    assert (
        "--config retrian: not one of study, replicates, seeds, experiments, models, grader, retrain; did you mean retrain?"
        in workspace.snakemake("-n", "--config", "retrian=yes", fails=True)
    )
    assert "must be a list of numbers" in workspace.snakemake("-n", "--config", "seeds=many", fails=True)


def test_the_ladder_of_the_cluster_page_can_be_climbed(workspace):
    """The commands of docs/cluster.md as they stand there, as dry runs."""
    text = (REPOSITORY / "docs/cluster.md").read_text(encoding="utf-8").partition("## 1.")[0]
    commands = [
        line.strip() for line in text.splitlines() if re.match(r" +(sed|\.venv/bin/snakemake) ", line)
    ]
    assert len(commands) == 5
    for command in commands:
        own = command.replace(".venv/bin/snakemake", f"{sys.executable} -m snakemake -n")
        done = subprocess.run(
            ["bash", "-c", own], cwd=workspace.root, env=workspace.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert command.startswith("sed") or "Job stats" in done.stdout + done.stderr
    assert workspace.planned(f"{TWO_STEPS}/training.parquet", "--config", "study=two_steps") == {
        "build_problems": 1, "fetch_base": 1, "train_on_policy": 1
    }  # fmt: skip
