"""A study of interventions: which jobs it has, what it refuses, what a job writes, and the share of a loss that returns."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from spoiled import CONFIG, spoil
from test_statistics import make_samples
from tiny import save_base, save_problems

from selfdistill.claims.judge import Frames, judge_parts
from selfdistill.claims.ledger import ArmSpec, ledger_of
from selfdistill.claims.selection import Missing, needed_files, plan_claims, planned_arm
from selfdistill.commands.costs import Assumptions, costs_of
from selfdistill.commands.status import expected_jobs
from selfdistill.records.files import read_table
from selfdistill.records.paths import Paths
from selfdistill.records.schemas import samples_schema
from selfdistill.records.task import Task
from selfdistill.report.loading import intervention_samples
from selfdistill.report.numbers import OOD_MEAN, intervention_numbers
from selfdistill.report.study_data import StudyData
from selfdistill.report.tables.interventions import interventions_table
from selfdistill.sampling.run import evaluate_intervention
from selfdistill.statistics import Arm, compare, intervention_estimates
from selfdistill.statistics.interventions import returned
from selfdistill.study.jobs import evaluation_params, intervention_params
from selfdistill.study.load import load_study
from selfdistill.study.shown import intervened
from selfdistill.study.yaml import StudyError

DECLARED = {"tables.interventions": ["on-policy"], "benchmarks.interventions": ["ban", "force"]}
BASE = {"method": "base", "step": 0} | dict.fromkeys(("context", "teacher", "dataset", "coverage"), "none")
GRPO = {"method": "grpo", "context": "none", "teacher": "none"}
SHARES = {"none": 0.8, "ban": 0.5}, {"none": 0.4, "ban": 0.4, "force": 0.6}, {"none": 0.85, "force": 0.9}


def drawn(share: float, seed: int, problems: int = 60) -> np.ndarray:
    """Right and wrong answers of 3 seeds x problems x 4 samples; exactly `share` of a problem's samples on average."""
    flat = np.zeros(3 * problems * 4, dtype=bool)
    flat[: round(share * flat.size)] = True
    return np.random.default_rng(seed).permutation(flat).reshape(3, problems, 4)


def samples(benchmark: str = "in-domain") -> pd.DataFrame:
    """Base, SDPO that has lost 40 points, and GRPO that has gained, under interventions."""
    frames = [
        make_samples(drawn(share, 10 * run + number), benchmark, **fields, intervention=name)
        for run, (fields, shares) in enumerate(zip((BASE, {}, GRPO), SHARES, strict=True))
        for number, (name, share) in enumerate(shares.items())
    ]
    return pd.concat(frames, ignore_index=True)


def cell(frame: pd.DataFrame, metric: str, method: str, intervention: str) -> pd.Series | None:
    """The row of one number."""
    rows = frame.query("metric == @metric and method == @method and intervention == @intervention")
    assert len(rows) <= 1
    return rows.iloc[0] if len(rows) else None


def test_the_share_that_returns_is_that_of_the_loss():
    frame = intervention_estimates(samples())
    assert cell(frame, "returned", "sdpo", "force")["estimate"] == pytest.approx((0.6 - 0.4) / (0.8 - 0.4))
    assert cell(frame, "returned", "sdpo", "ban")["estimate"] == pytest.approx(0, abs=1e-9)
    assert cell(frame, "change", "sdpo", "force")["estimate"] == pytest.approx(0.2)
    assert cell(frame, "change", "base", "ban")["estimate"] == pytest.approx(-0.3)
    assert cell(frame, "accuracy", "grpo", "force")["estimate"] == pytest.approx(0.9)
    for method, name in (("base", "ban"), ("grpo", "force"), ("sdpo", "none")):
        assert cell(frame, "returned", method, name) is None, "nothing has been lost"
    share = cell(frame, "returned", "sdpo", "force")
    assert share["low"] < 0.5 < share["high"] < 1
    assert (share["n_problems"], share["k"], share["n_seeds"]) == (60, 4, 3)


def test_the_interval_of_the_share_covers_at_its_level():
    """40 studies whose share is 0.5: the 95 % intervals miss it in about 2."""
    missed, rng = 0, np.random.default_rng(1)
    by = ["model", "method", "context", "teacher", "dataset", "coverage", "variant", "intervention"]
    for _ in range(40):
        hard = rng.normal(0, 0.1, (1, 40, 1))
        arms = [
            make_samples(rng.random((3, 40, 4)) < share + hard, **fields, intervention=name)
            for fields, name, share in ((BASE, "none", 0.75), ({}, "none", 0.35), ({}, "force", 0.55))
        ]
        (found,) = returned(pd.concat(arms, ignore_index=True), by).to_dict("records")
        missed += not found["low"] <= 0.5 <= found["high"]
    assert missed <= 6


def test_a_loss_that_may_be_none_has_no_share():
    frame = samples()
    lost = frame[(frame["method"] == "sdpo") & (frame["intervention"] == "none")]
    base = frame[(frame["method"] == "base") & (frame["intervention"] == "none")]
    small = base.assign(**lost.iloc[0][["method", "context", "teacher", "dataset", "coverage", "step"]])
    kept = pd.concat([frame.drop(lost.index), small], ignore_index=True)
    assert compare([Arm(base, 1), Arm(small, -1)], "accuracy").low == 0
    assert "returned" not in set(intervention_estimates(kept)["metric"])


def test_the_table_shows_every_intervention_of_every_run_in_and_out_of_domain():
    names = {"in-domain": {"label": "In domain", "ood": False}}
    names |= {name: {"label": name, "ood": True} for name in ("longer", "paired")}
    rows = pd.concat([samples(name) for name in names], ignore_index=True)
    numbers = intervention_numbers(rows, ["longer", "paired"])
    assert set(numbers["benchmark"]) == {*names, OOD_MEAN}
    data = StudyData(interventions=numbers, benchmarks=names)
    runs = rows.query("method != 'base'")[
        ["model", "method", "context", "teacher", "dataset", "coverage", "variant"]
    ]
    shown, note = interventions_table(data.of_runs(runs.drop_duplicates().to_dict("records")))
    assert [(row["Run"].text.split()[0], row["Intervention"].text) for row in shown] == [
        ("base", "none"), ("base", "ban"),
        ("GRPO", "none"), ("GRPO", "force"),
        ("SDPO", "none"), ("SDPO", "ban"), ("SDPO", "force"),
    ]  # fmt: skip
    force = shown[-1]
    assert force["Returned, In domain"].text.startswith("50 [") and force["In domain"].text.startswith(
        "60.0 ["
    )
    assert force["Returned, OOD mean"].value == pytest.approx(50)
    assert force["Δ, In domain"].text.startswith("+20.0 [")
    assert shown[3]["Returned, In domain"].text == "–" and shown[0]["Δ, In domain"].text == "–"
    assert "n = 60" in note and "3 seeds" in note


def test_a_study_evaluates_the_runs_of_the_table_and_their_bases_and_no_others(folder):
    plain = load_study(CONFIG / "mini.yaml")
    assert intervened(plain) == []
    study = spoil(folder, DECLARED)
    runs = study.runs("on-policy")
    bases = {run for run in study.base_runs() if run.model in {other.model for other in runs}}
    asked = intervened(study)
    assert {run for run, _ in asked} == {*runs, *bases}
    assert {name for run, name in asked if run in bases} == {"ban"}, "force changes nothing in a base"
    assert {name for run, name in asked if run in runs} == {"ban", "force"}
    paths = Paths("mini")
    manifests = {paths.manifest(paths.intervention(*pair)) for pair in asked}
    assert manifests <= {job.manifest for job in expected_jobs(study)}
    assert manifests <= set(costs_of(study, Assumptions()))
    run = runs[0]
    last = study.steps_of(run)[-1]
    params = intervention_params(study, run, "force").model_dump()
    assert params == evaluation_params(study, run, last).model_dump() | {"intervention": "force"}
    assert evaluation_params(study, run, last) == evaluation_params(plain, run, last), (
        "samples stay as they are"
    )


def test_claims_find_responses_under_interventions_and_say_which_are_missing():
    study = load_study(CONFIG / "beyond.yaml", replicates=[0, 1, 2])
    parts = [part for part in plan_claims(ledger_of(study), study) if part.claim == "X16"]
    files = needed_files(parts, study, Paths("beyond"))
    under = [path for path in files["interventions"] if "/sdpo/" in path]
    assert len(under) == 6 == len({*under}), "forced and replaced, in three replicates"
    assert not set(files["interventions"]) & set(files["samples"])
    arm = ArmSpec(method="base", intervention="ban")
    with pytest.raises(Missing, match=r"is not evaluated under ban \(.*mini\.yaml: tables\.interventions"):
        planned_arm(arm, 1, "deepseek", "ood", load_study(CONFIG / "mini.yaml"))


def test_a_claim_about_the_loss_that_returns_is_judged_from_the_responses_under_interventions():
    study = load_study(CONFIG / "beyond.yaml", seeds=[0, 1, 2])
    forced = next(part for part in plan_claims(ledger_of(study), study) if part.claim == "X16")
    rows = pd.concat([samples(name) for name in forced.arms[0].benchmarks], ignore_index=True)
    rows = rows.assign(model="r1-mini", dataset=np.where(rows["method"] == "base", "none", "chain"))
    by_name = dict(tuple(rows.groupby("intervention")))
    plain = by_name.pop("none")
    (found,) = judge_parts([forced], Frames(plain, pd.DataFrame(), pd.DataFrame(), by_name), 0.05)
    assert found.effect == pytest.approx((0.6 - 0.4) / (0.8 - 0.4))
    (missing,) = judge_parts([forced], Frames(plain, pd.DataFrame(), pd.DataFrame()), 0.05)
    assert missing.reason.endswith("under force")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tables.interventions": ["on-policy"]}, r"must list what the table `interventions` shows; allowed: ban, force"),
        ({"benchmarks.interventions": ["ban"]}, "is used by the table `interventions` only: declare it in `tables`"),
        (DECLARED | {"benchmarks.interventions": ["ban", "ban"]}, "'ban' is listed twice"),
        (DECLARED | {"backend": "vllm"}, "the backend vllm has no intervention force; allowed: ban"),
        (DECLARED | {"benchmarks.interventions": ["bann"]}, "'bann' is not allowed; allowed: ban, force, neutral"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_when_the_study_is_loaded(folder, changes, message):
    with pytest.raises(StudyError, match=rf"benchmarks\.interventions.*: {message}"):
        spoil(folder, changes)


def test_the_job_writes_samples_without_the_words_and_names_the_file_after_the_intervention(tmp_path):
    study = load_study(CONFIG / "test.yaml")
    run = next(run for run, _ in intervened(study) if run.method == "base")
    base, path = save_base(tmp_path / "base", "r1"), tmp_path / "interventions"
    problems = save_problems(tmp_path / "problems.parquet")
    written = {}
    for name in ("ban", "neutral", "force"):
        params = replace_params(study, run, name)
        output = SimpleNamespace(samples=str(path / f"{name}.parquet"))
        inputs = SimpleNamespace(model=str(base), base=str(base), benchmarks=[str(problems)])
        facts = evaluate_intervention(Task({"job": params}, inputs, output, tmp_path / name))
        written[name] = read_table(output.samples, samples_schema())
        assert facts["tokens"] == written[name]["response_tokens"].sum()
    assert written["force"]["epistemic_word"].sum() > 20, "the base forced to its own rate"
    assert not written["ban"]["epistemic_word"].any() and not written["neutral"]["epistemic_word"].any()
    assert not written["ban"]["response"].equals(written["neutral"]["response"])
    both = intervention_samples([str(path / "ban.parquet")], [str(path / "force.parquet")])
    assert both["intervention"].value_counts().to_dict() == dict.fromkeys(("ban", "none"), len(both) // 2)


def replace_params(study, run, name: str) -> dict:
    """The params of a job on one benchmark."""
    whole = intervention_params(study, run, name)
    return whole.model_copy(update={"benchmarks": ["chain"], "samples": 4}).model_dump()
