"""Measured stages of a finished study, and the plan that computes with them instead of assumptions."""

import json
from pathlib import Path

import pandas
import pytest

from selfdistill.commands import measure, plan
from selfdistill.commands.costs import Assumptions, CostModel, token_flops
from selfdistill.commands.ranges import Range
from selfdistill.records.paths import Paths
from selfdistill.study.load import load_study
from selfdistill.study.methods import METHODS, ON_POLICY

STUDY = load_study(Path(__file__).parents[2] / "config" / "smoke_random.yaml")
PATHS = Paths(STUDY.name)
PARAMETERS = 12 * 28 * 2048**2 + 151_936 * 2048
PEAK = 989e12
DECODING, TRAINING = 0.05, 0.25
RESPONSES, TOKENS = 32, 32 * 1000


def write(path: str, content: dict) -> None:
    """Write a manifest."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps({"peak_memory_mb": 900, "device": "1 x a GPU"} | content))


def seconds(tokens: int, passes: float, share: float) -> float:
    """What passes over tokens in responses of 1,000 take at a share of the peak."""
    return tokens * passes * token_flops(PARAMETERS, 1000) / (PEAK * share)


def trained_seconds(run, tokens: int) -> float:
    """What a training took: rollouts, passes, and the demonstrations of a teacher, each another response of 1,000."""
    wall = seconds(tokens, 1, DECODING) + seconds(tokens, METHODS[run.method].passes, TRAINING)
    if METHODS[run.method].has_teacher:
        both = 2 * tokens * token_flops(PARAMETERS, 2000) / (PEAK * TRAINING)
        wall += both - seconds(tokens, 1, TRAINING)
    return wall


def finish(run) -> None:
    """Write what a finished evaluation and, of an on-policy run, a finished training leave, at the two shares."""
    samples = Path(PATHS.samples(run, STUDY.steps_of(run)[0]))
    samples.parent.mkdir(parents=True, exist_ok=True)
    pandas.DataFrame({"x": range(RESPONSES)}).to_parquet(samples)
    took = {"rule": "evaluate", "wall_seconds": seconds(TOKENS, 1, DECODING), "tokens": TOKENS}
    write(PATHS.manifest(str(samples)), took | {"peak_gpu_memory_mb": None})
    if run.method in ON_POLICY:
        own = STUDY.settings_for(run)
        tokens = own.steps * own.prompts * own.rollouts * 1000
        took = {"rule": "train_on_policy", "wall_seconds": trained_seconds(run, tokens), "tokens": tokens}
        write(PATHS.run_manifest(run), took | {"peak_gpu_memory_mb": 40_000.0})


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A folder with a finished smoke study."""
    monkeypatch.chdir(tmp_path)
    for run in STUDY.base_runs() + STUDY.runs():
        finish(run)


def test_shares_of_the_peak_come_back(finished):
    found = measure.measured(STUDY)
    assert found["assumptions"]["decoding_utilisation"] == pytest.approx(DECODING)
    assert found["assumptions"]["training_utilisation"] == pytest.approx(TRAINING)
    assert found["device"] == "1 x a GPU"


def test_the_plan_of_the_measured_study_is_what_it_took(finished):
    lengths = {name: Range(1000.0, 1000.0, 1000.0) for name in ("thinking_tokens", "plain_tokens")}
    shares = measure.measured(STUDY)["assumptions"]
    ranges = {name: measure.ALL.times(shares[name]) for name in shares if name != "peak_tflops"}
    model = CostModel(STUDY, Assumptions(**lengths, **ranges))
    taught = [run for run in STUDY.runs(methods=ON_POLICY) if METHODS[run.method].has_teacher]
    assert taught
    for run in STUDY.runs(methods=ON_POLICY):
        took = json.loads(Path(PATHS.run_manifest(run)).read_text())["wall_seconds"]
        assert model.training(run).hours.mid * 3600 == pytest.approx(took), run


def test_a_stage_has_seconds_tokens_per_second_and_peaks(finished):
    stages = measure.measured(STUDY)["stages"]
    assert set(stages) == {"evaluate", "train_on_policy"}
    assert stages["evaluate"]["jobs"] == 5
    assert stages["evaluate"]["tokens"] == 5 * TOKENS
    assert stages["evaluate"]["tokens_per_second"] == pytest.approx(
        TOKENS / seconds(TOKENS, 1, DECODING), rel=0.1
    )
    assert stages["evaluate"]["peak_gpu_memory_mb"] is None
    assert stages["train_on_policy"]["peak_gpu_memory_mb"] == 40_000


def test_the_plan_takes_what_was_measured_and_options_still_come_first(finished, tmp_path):
    file = tmp_path / "measured.json"
    file.write_text(json.dumps(measure.measured(STUDY)))
    _, assumed = plan.parse(["--measured", str(file)])
    assert assumed.decoding_utilisation == pytest.approx((DECODING,) * 3)
    assert assumed.training_utilisation == pytest.approx((TRAINING,) * 3)
    assert assumed.thinking_tokens == Assumptions().thinking_tokens
    _, assumed = plan.parse(["--measured", str(file), "--training-utilisation", "0.4"])
    assert assumed.training_utilisation == (0.4, 0.4, 0.4)
    assert assumed.decoding_utilisation == pytest.approx((DECODING,) * 3)


def test_a_study_that_has_not_run_and_another_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(measure.NothingMeasured, match="no evaluation has finished in results/smoke_random"):
        measure.measured(STUDY)
    Path("other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other.json: must be a file of .*commands.measure"):
        measure.read_measured("other.json")
