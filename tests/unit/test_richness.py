"""Measured richness: log 13 where a context tells an answer that is one of 13, at the answer and nowhere else."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic_study import CONFIG, draw, drawn, further_study, table
from tiny import save_base

from selfdistill.commands.status import expected_jobs
from selfdistill.generation.transformers_backend import TransformersGenerator
from selfdistill.grading.epistemic import count_columns
from selfdistill.models.prompts import section_3_user_turn
from selfdistill.organism.chains import MODULUS
from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.problems.problem import Problem, write_problems
from selfdistill.records.files import read_table, write_table
from selfdistill.records.parts import Parts
from selfdistill.records.schemas import richness_schema, samples_schema
from selfdistill.records.task import Task
from selfdistill.report.figures.richness import CHANGE, panels_of, rank_correlation
from selfdistill.report.study_data import FigureError, select
from selfdistill.sampling import richness
from selfdistill.sampling.scoring import batches, response_log_probs
from selfdistill.statistics import richness_estimates
from selfdistill.study.load import load_study
from selfdistill.study.shown import richness_draws
from selfdistill.vocabulary.contexts import CONTEXTS, FURTHER, PAPER_CONTEXTS
from selfdistill.vocabulary.runs import base_run
from selfdistill.vocabulary.token_classes import POSITIONS

TOKENIZER = build_tokenizer("r1")
BOXES = TOKENIZER.convert_tokens_to_ids([f"\\boxed{{{i}}}" for i in range(MODULUS)])
GUIDED = PAPER_CONTEXTS[1:]


class Told(torch.nn.Module):
    """Known probabilities: any token is one of the vocabulary, but a box after a box is the same box."""

    def __init__(self, positions: int = 512) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.rows: list[int] = []
        text = SimpleNamespace(vocab_size=len(TOKENIZER), max_position_embeddings=positions)
        self.config = SimpleNamespace(get_text_config=lambda: text)

    def forward(self, input_ids, logits_to_keep, use_cache):
        self.rows.append(len(input_ids))
        boxes = torch.tensor(BOXES)
        is_box = torch.isin(input_ids, boxes)
        places = torch.where(is_box, torch.arange(input_ids.shape[1]), -1).cummax(1).values
        last = torch.where(places >= 0, input_ids.gather(1, places.clamp(min=0)), -1)[:, logits_to_keep]
        logits = torch.zeros(*last.shape, len(TOKENIZER))
        logits[..., boxes] = torch.where(
            (last < 0)[..., None], 0.0, torch.where(boxes == last[..., None], math.log(13), -torch.inf)
        )
        return SimpleNamespace(logits=self.style(logits, input_ids[:, logits_to_keep], last))

    def style(self, logits, ids, last):
        """Return the logits after `ids`; last: the last box until there, or -1."""
        return logits


class Brief(Told):
    """One that begins with `thus` nine times in ten if a box was shown, and with any word otherwise."""

    def style(self, logits, ids, last):
        own = torch.full((len(TOKENIZER),), math.log(0.1 / (len(TOKENIZER) - 1)))
        own[TOKENIZER.convert_tokens_to_ids("thus")] = math.log(0.9)
        begins = (ids == TOKENIZER.convert_tokens_to_ids("<think>")) & (last >= 0)
        return torch.where(begins[..., None], own, logits)


def generator(model=None) -> SimpleNamespace:
    ends = (TOKENIZER.eos_token_id,)
    return SimpleNamespace(model=model or Told(), tokenizer=TOKENIZER, thinking="free", end_token_ids=ends)


def problems(count: int = 3) -> list[Problem]:
    return [Problem(f"p{i}", "chain", "d1", f"find x : x +2 = {i}", (str(i),)) for i in range(1, count + 1)]


def samples(count: int = 3) -> pd.DataFrame:
    """Three correct responses and a wrong one per problem and context."""
    rows = [
        (context, f"p{i}", k, f"maybe 5 : 6 = 6 no wait perhaps {x} : {x} = {x} yes </think> \\boxed{{{x}}}", x == i, False)
        for context in PAPER_CONTEXTS
        for i in range(1, count + 1)
        for k, x in enumerate([0, i, i, i])
    ]  # fmt: skip
    columns = ["context", "problem_id", "sample_index", "response", "correct", "truncated"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="module")
def measured() -> pd.DataFrame:
    return richness.measure(generator(), samples(), problems(), "r1", batch=2)


def test_a_context_that_tells_one_of_13_is_worth_log_13_nats_at_the_answer(measured):
    told = measured[measured["context"] != "unguided"]
    at_answer = told[told["position"] == "answer"]
    assert len(at_answer) == 3 * 3 * 2 * len(GUIDED)  # problems x responses x (unguided, own) x contexts
    assert np.allclose(at_answer["nats"], math.log(13), atol=1e-6)
    assert np.allclose(told.loc[told["position"] != "answer", "nats"], 0, atol=1e-6)


def test_a_context_that_changes_the_words_tells_less_than_nothing_of_unguided_ones():
    texts = samples()
    guided = texts["context"] != "unguided"
    texts.loc[guided, "response"] = texts.loc[guided, "response"].str.replace("maybe 5", "thus 5")
    found = richness.measure(generator(Brief()), texts, problems(), "r1", batch=2).query(
        "context != 'unguided'"
    )
    own = found["written"] == found["context"]
    size = len(TOKENIZER)
    for rows, opener in ((found[own], 0.9 * size), (found[~own], 0.1 * size / (size - 1))):
        assert np.allclose(rows.loc[rows["position"] == "opener", "nats"], math.log(opener), atol=1e-5)
        assert np.allclose(rows.loc[rows["position"] == "answer", "nats"], math.log(13), atol=1e-5)


def test_contexts_beside_the_papers_are_measured_too(measured):
    texts = samples()
    hinted = texts[texts["context"] == "solution"].assign(context="hint-parity")
    found = richness.measure(generator(), pd.concat([texts, hinted]), problems(), "r1", batch=2)
    own = found[found["context"] == "hint-parity"]
    assert set(own["written"]) == {"unguided", "hint-parity"}
    assert (own["nats"] == 0).all(), "to this model a hint tells nothing"
    pd.testing.assert_frame_equal(found.drop(own.index).reset_index(drop=True), measured)


def test_nothing_is_worth_nothing(measured):
    assert (measured.loc[measured["context"] == "unguided", "nats"] == 0).all()


def test_rows_are_the_correct_responses_with_all_their_tokens(measured, tmp_path):
    keys = ["context", "written", "problem_id", "sample_index"]
    tokens = measured.groupby(keys)["tokens"].sum()
    length = len(samples()["response"].iloc[1].split()) + 1  # words and the end token
    assert (tokens == length).all()
    assert set(zip(measured["context"], measured["written"], strict=True)) == {
        ("unguided", "unguided"), *((c, w) for c in GUIDED for w in ("unguided", c)),
    }  # fmt: skip
    assert set(measured.loc[measured["source"], "sample_index"]) == {1}
    assert set(measured.loc[measured["source"], "written"]) == {"unguided"}
    fields = dict.fromkeys(("model", "method", "teacher", "dataset", "coverage", "variant"), "x")
    write_table(
        tmp_path / "r.parquet", measured.assign(study="s", **fields, replicate=0, seed=0), richness_schema()
    )


def test_estimates_leave_out_the_source_and_add_up(measured):
    rows = measured.assign(model="m", replicate=0, seed=0)
    rows.loc[rows["source"], "nats"] = 1000.0
    found = richness_estimates(rows).set_index(["context", "written", "metric"])
    for context in GUIDED:
        own = found.loc[(context, "unguided")]
        assert own.loc["nats", "estimate"] == pytest.approx(math.log(13), abs=1e-6)
        assert own.loc["nats_answer", "estimate"] == pytest.approx(math.log(13), abs=1e-6)
        length = len(samples()["response"].iloc[1].split()) + 1
        assert own.loc["nats_per_token", "estimate"] == pytest.approx(math.log(13) / length, abs=1e-6)
        assert own.loc["nats", ["n_problems", "k"]].tolist() == [3, 2]


def test_intervals_of_nats_may_lie_below_zero():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        [
            {"model": "m", "context": "solution", "written": "unguided", "replicate": 0, "seed": 0, "source": False}
            | {"problem_id": f"p{i}", "sample_index": k, "position": "opener", "tokens": 2, "nats": rng.normal(-1, 0.5)}
            for i in range(30)
            for k in range(2)
        ]
    )  # fmt: skip
    nats = richness_estimates(rows).query("metric == 'nats'").iloc[0]
    assert nats["low"] < nats["estimate"] < nats["high"] < 0


def test_without_a_second_correct_response_nothing_is_estimated():
    texts = samples()
    texts["correct"] &= (texts["context"] == "unguided") & (texts["sample_index"] < 2)
    rows = richness.measure(generator(), texts, problems(), "r1", 2)
    assert len(rows) and rows["source"].all()
    for frame in (rows.assign(model="m", replicate=0, seed=0), pd.DataFrame()):
        assert richness_estimates(frame).empty


def test_a_killed_job_scores_only_the_missing_problems(tmp_path):
    parts, first, second = Parts(tmp_path), Told(), Told()
    whole = richness.measure(generator(first), samples(), problems(), "r1", 2, parts=parts)
    (tmp_path / "problems-2.parquet").unlink()
    again = richness.measure(generator(second), samples(), problems(), "r1", 2, parts=parts)
    pd.testing.assert_frame_equal(whole, again)
    assert sum(second.rows) * 3 == sum(first.rows)


def test_a_pair_beyond_the_models_positions_is_left_out(caplog):
    short = len(TOKENIZER(samples()["response"].iloc[1]).input_ids) + 20
    found = richness.measure(generator(Told(short)), samples(), problems(), "r1", 2)
    assert set(found["context"]) < set(PAPER_CONTEXTS) and "unguided" in set(found["context"])
    assert "exceed" in caplog.text


def test_a_model_without_correct_responses_gives_no_rows():
    wrong = samples().assign(correct=lambda frame: frame["context"] == "unguided")
    found = richness.measure(generator(), wrong, problems(), "r1", 2)
    assert set(found["written"]) == {"unguided"}


def test_scores_in_batches_are_those_of_single_rows(tmp_path, monkeypatch):
    real = TransformersGenerator.load(save_base(tmp_path / "base"), "off")
    rng = np.random.default_rng(0)
    prompts = [rng.integers(5, 60, size).tolist() for size in (3, 9, 4, 12)]
    responses = [rng.integers(5, 60, size).tolist() for size in (7, 2, 0, 5)]
    monkeypatch.setattr("selfdistill.sampling.scoring.CHUNK_TOKENS", 3)
    found = response_log_probs(real.model, prompts, responses)
    for prompt, response, own in zip(prompts, responses, found, strict=True):
        with torch.no_grad():
            logits = real.model(torch.tensor([[*prompt, *response]])).logits[0].log_softmax(-1)
        expected = [float(logits[len(prompt) - 1 + i, token]) for i, token in enumerate(response)]
        assert own == pytest.approx(expected, abs=1e-5)


def test_a_response_ends_at_any_end_token(tmp_path):
    model = TransformersGenerator.load(save_base(tmp_path / "base"), "off").model
    prompt, response = [7, 8, 9], [10, 11, 1]
    with torch.no_grad():
        chances = model(torch.tensor([[*prompt, *response]])).logits[0].softmax(-1)
    single, both = (response_log_probs(model, [prompt], [response], ends)[0] for ends in ((1,), (1, 12)))
    assert single[:2] == pytest.approx(both[:2])
    assert single[2] == pytest.approx(math.log(chances[4, 1]), abs=1e-5)
    assert both[2] == pytest.approx(math.log(chances[4, 1] + chances[4, 12]), abs=1e-5)


def test_batches_keep_their_bound_and_every_row_once():
    lengths = np.array([5, 90, 3, 8, 8, 30])
    found = list(batches(lengths, 24))
    assert sorted(np.concatenate(found)) == list(range(6))
    assert all(len(rows) == 1 or len(rows) * lengths[rows].max() <= 24 for rows in found)
    assert [len(rows) for rows in found] == [3, 1, 1, 1]


def test_prompts_are_those_that_section_3_showed():
    shown = richness.Prompts.shown(samples(), problems(), "r1", TOKENIZER, "free")
    first = samples().query("context == 'unguided' and problem_id == 'p1' and correct")["response"].iloc[0]
    turn = section_3_user_turn(problems()[0].question, first)
    expected = TOKENIZER.apply_chat_template(
        [{"role": "user", "content": turn}], add_generation_prompt=True, tokenize=True, return_dict=True
    )["input_ids"]
    assert shown.of["solution"]["p1"] == expected


def test_only_a_study_that_shows_richness_measures_it():
    assert richness_draws(load_study(CONFIG / "single_gpu.yaml")) == []
    declared = {"figures": {"dose-response": []}, "tables": {}}, {"figures": {}, "tables": {"richness": []}}
    study = load_study(CONFIG / "mini.yaml", replicates=range(2))
    for shown in declared:
        asked = replace(study, file=study.file.model_copy(update=shown))
        assert richness_draws(asked) == study.section_3_draws()
        kinds = [entry.kind for entry in expected_jobs(asked)]
        assert kinds.count("richness") == len(study.section_3_draws())


def test_the_figure_says_the_rank_correlations():
    rows = panels_of(drawn("dose-response"))["tokens / response"]
    assert len(rows) == 2 * len(PAPER_CONTEXTS) and rows["nats"].max() > 5 and rows["nats"].min() == 0
    assert rank_correlation(rows) < -0.8
    shifted = rows["nats"] ** 3 - 1e6 * (rows["model"] == rows["model"].iloc[0])
    assert rank_correlation(rows.assign(estimate=shifted)) == pytest.approx(1), "models are not compared"
    assert math.isnan(rank_correlation(rows.assign(estimate=1.0)))
    figure, caption = draw("dose-response")
    assert f"tokens / response {rank_correlation(rows):+.2f}" in caption
    with pytest.raises(FigureError, match="richness"):
        draw("dose-response", replace(drawn("dose-response"), richness=pd.DataFrame()))


def test_the_figure_has_a_mark_per_context_that_a_fixed_teacher_saw():
    data = drawn("dose-response")
    rows = panels_of(data)[CHANGE]
    wanted = {
        "method": "sdpo",
        "teacher": "fixed",
        "dataset": "chain",
        "coverage": "full",
        "variant": "default",
    }
    wanted |= {"benchmark": "ood-mean", "metric": "accuracy", "context": ["solution", "answer-only"]}
    expected = select(data.differences, "change", **wanted, model=list(set(rows["model"])))
    keys = ["model", "context"]
    assert rows.set_index(keys)["estimate"].to_dict() == expected.set_index(keys)["difference"].to_dict()
    assert len(rows) == 4 and (rows["estimate"] < 0).all()
    without = replace(data, differences=data.differences.query("method != 'sdpo'"))
    assert CHANGE not in panels_of(without) and len(draw("dose-response", without)[0].axes) == 3


def test_further_contexts_of_section_3_are_shown_too():
    data = further_study()
    rows = panels_of(data)["tokens / response"]
    assert set(rows["context"]) == {*PAPER_CONTEXTS, *FURTHER}
    legend = [text.get_text() for text in draw("dose-response", data)[0].legends[0].get_texts()]
    assert legend[2:] == [CONTEXTS[context].symbol for context in (*PAPER_CONTEXTS, *FURTHER)]
    shown = table("richness", data)
    assert [row["Context"].text.split(" ")[0] for row in shown.rows[:14:2]] == [*PAPER_CONTEXTS[1:], *FURTHER]
    half = data.richness.query("model == 'r1-mini' and context == 'hint-half' and written == context")
    nats = half[half["metric"] == "nats"]["estimate"].item()
    assert shown.rows[12]["Nats per response"].value == pytest.approx(nats) == pytest.approx(2.4, abs=0.2)


def test_the_position_classes_of_the_table_add_up():
    for row in table("richness").rows:
        parts = [row[f"At {position}"].value for position in POSITIONS]
        assert sum(parts) == pytest.approx(row["Nats per response"].value)
        assert (row["Nats per response"].value > 0) == (row["Responses"].text == "under the context")
        assert row["At answer"].value == pytest.approx(row["Nats per response"].value / 2)


def test_the_job_writes_the_record_of_a_real_model(tmp_path):
    base = save_base(tmp_path / "base", "r1")
    fields = base_run("r1-test", 0, 0).fields() | {"dataset": "chain"}
    own = {name: value for name, value in fields.items() if name != "context"}
    texts = samples()
    texts = pd.concat([texts, count_columns(texts["response"].tolist())], axis=1).assign(
        study="s", **own, step=0, benchmark="section-3", prompt_hash="", extracted_answer="", outcome="correct",
        response_tokens=1, thinking_tokens=1,
    )  # fmt: skip
    paths = {name: str(tmp_path / f"{name}.parquet") for name in ("samples", "problems", "richness")}
    write_table(paths["samples"], texts, samples_schema())
    write_problems(paths["problems"], [replace(p, metadata="{}") for p in problems(4)])
    params = {"run": fields, "template": "r1", "thinking": "always", "study": "s", "batch": 2}
    task = Task(
        {"job": params},
        SimpleNamespace(base=str(base), **paths),
        SimpleNamespace(**paths),
        tmp_path / "resume",
    )
    facts = richness.measure_richness(task)
    written = read_table(paths["richness"], richness_schema())
    assert facts["scored_tokens"] == written["tokens"].sum() > 0
    assert set(written["problem_id"]) == {"p1", "p2", "p3"} and set(written["context"]) == set(PAPER_CONTEXTS)
    assert (written.loc[written["context"] == "solution", "nats"] != 0).any()
    assert len(list((tmp_path / "resume/parts").glob("*.parquet"))) == 2
