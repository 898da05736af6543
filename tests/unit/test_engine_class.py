"""The class that vLLM may rewrite is a subclass which only `AutoModel` makes; tests/engine has the engine itself."""

import pytest
import tiny
import torch
from transformers import MODEL_MAPPING, AutoConfig, AutoModel

from selfdistill.models.engine_class import keep_from_engine
from selfdistill.models.loading import load_model

IDS = torch.tensor([[1, 2, 3]])


@pytest.fixture
def config(tmp_path):
    """The configuration of a tiny Olmo3."""
    found = AutoConfig.from_pretrained(tiny.save_base(tmp_path / "base", "olmo3"))
    yield found
    MODEL_MAPPING._extra_content.pop(type(found), None)


def test_a_policy_runs_and_a_teacher_loads_after_an_engine_has_rewritten_its_class(config, tmp_path):
    policy = load_model(tmp_path / "base")
    before = policy(IDS).logits
    keep_from_engine(config)
    engine = type(AutoModel.from_config(config))
    keep_from_engine(config)
    assert type(AutoModel.from_config(config)) is engine, (
        "a second engine gets the class that is rewritten already"
    )

    def refuse(*_, **__):
        raise AssertionError("belongs to an engine")

    engine.__init__ = engine.__call__ = refuse
    teacher = load_model(tmp_path / "base")
    assert torch.equal(policy(IDS).logits, before) and torch.equal(teacher(IDS).logits, before)
    with pytest.raises(AssertionError, match="belongs to an engine"):
        AutoModel.from_config(config)
