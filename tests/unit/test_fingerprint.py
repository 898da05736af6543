"""The fingerprint of code sees what runs and nothing else."""

import ast
import shutil

import pytest

from selfdistill.jobs.fingerprint import (
    ROOT,
    code_fingerprint,
    imported_modules,
    module_hash,
    reachable,
    reduced,
    script_fingerprint,
    syntax_tree,
)
from selfdistill.problems.build import MAKERS


@pytest.fixture
def package(tmp_path):
    """A copy of the package; `edit` changes one of its files."""
    root = shutil.copytree(ROOT, tmp_path / "selfdistill", ignore=shutil.ignore_patterns("__pycache__"))

    def edit(name, old, new):
        path = root / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        syntax_tree.cache_clear()
        module_hash.cache_clear()
        imported_modules.cache_clear()

    edit.root = root
    return edit


def fingerprints(root):
    """Fingerprints of the rules that cost something."""
    modules = (
        "organism.pretraining",
        "training.sft",
        "training.grpo",
        "training.sdpo",
        "sampling.evaluation",
        "report.figures.words",
    )
    return {module: code_fingerprint(module, root=root) for module in modules}


def changed(before, after):
    """The modules whose fingerprints differ."""
    return {module for module in before if before[module] != after[module]}


def test_transitive_imports_are_found_in_functions_and_relative_ones_too():
    found = reachable(("selfdistill.training.sdpo",))
    for name in (
        "training.sdpo",
        "training",
        "training.loss.losses",
        "grading.graders",
        "models.prompts",
        "seeds",
        "vocabulary.words",
    ):
        assert f"selfdistill.{name}" in found
    assert not [name for name in found if "figures" in name or "organism" in name or ".study" in name]
    assert "selfdistill.generation.transformers_backend" in reachable(("selfdistill.sampling.evaluation",))
    assert {"selfdistill.report.figures.curves", "selfdistill.report.style"} <= reachable(
        ("selfdistill.report.figures.words",)
    )


def test_an_unknown_module_is_an_error():
    with pytest.raises(ModuleNotFoundError, match="training.dpo"):
        code_fingerprint("training.dpo")


def test_comments_docstrings_layout_and_type_imports_do_not_count(package):
    before = fingerprints(package.root)
    package("training/sdpo.py", "def train_sdpo", "# a remark\n\n\n\ndef train_sdpo")
    package("training/loss/losses.py", '"""', '"""Another first line. ')
    package("training/progress.py", "from pathlib", "from typing import TYPE_CHECKING\nfrom pathlib")
    after_import = fingerprints(package.root)
    package(
        "training/progress.py",
        "from pathlib",
        "if TYPE_CHECKING:\n    from selfdistill.report.style import X\nfrom pathlib",
    )
    assert changed(after_import, fingerprints(package.root)) == set()
    package("training/progress.py", "if TYPE_CHECKING:\n    from selfdistill.report.style import X\n", "")
    package("training/progress.py", "from typing import TYPE_CHECKING\n", "")
    assert changed(before, fingerprints(package.root)) == set()


def test_a_change_counts_for_what_imports_it(package):
    before = fingerprints(package.root)
    package("training/loss/losses.py", "\nimport torch", "\nADDED = 1\nimport torch")
    assert changed(before, fingerprints(package.root)) == {"training.sdpo"}


def test_a_change_of_style_counts_for_figures_only(package):
    before = fingerprints(package.root)
    package("report/style.py", "def save_figure", "ADDED = 1\n\n\ndef save_figure")
    assert changed(before, fingerprints(package.root)) == {"report.figures.words"}


def test_infrastructure_counts_by_the_params_that_it_makes(package):
    before = fingerprints(package.root)
    package("study/file.py", "JOB_STAGES =", "ADDED = 1\nJOB_STAGES =")
    package("records/schemas.py", "OUTCOMES =", "ADDED = 1\nOUTCOMES =")
    assert changed(before, fingerprints(package.root)) == set()


def test_an_organism_counts_for_its_own_problems(package):
    def both():
        modules = (
            MAKERS[source].partition(":")[0].removeprefix("selfdistill.") for source in ("organism", "hub")
        )
        return [code_fingerprint("problems.build", module, root=package.root) for module in modules]

    before = both()
    package("organism/chains.py", "\nOPERATIONS =", "\nADDED = 1\nOPERATIONS =")
    after = both()
    assert (before[0] == after[0], before[1] == after[1]) == (False, True)


def test_the_seed_of_a_draw_counts_for_all_that_draws(package):
    before = fingerprints(package.root)
    package("seeds.py", "len(SEEDS) * replicate", "7 + len(SEEDS) * replicate")
    assert changed(before, fingerprints(package.root)) >= {
        "organism.pretraining",
        "training.sdpo",
        "sampling.evaluation",
    }


def test_the_vllm_backend_counts_for_studies_that_generate_with_it(package):
    def both():
        studies = (("sampling.evaluation",), ("sampling.evaluation", "generation.vllm_backend"))
        return [code_fingerprint(*modules, root=package.root) for modules in studies]

    before = both()
    package("generation/vllm_backend.py", "LENGTH_STEP =", "ADDED = 1\nLENGTH_STEP =")
    after = both()
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)
    own = code_fingerprint("sampling.evaluation", "generation.transformers_backend", root=package.root)
    assert own == before[0]


def test_a_script_counts_with_its_job_function_and_what_that_calls(package, tmp_path):
    script = tmp_path / "build_problems.py"
    script.write_text('"""Text."""\nrun_job(snakemake, "selfdistill.problems.build:build_problems")\n')

    def fingerprint():
        for cached in (syntax_tree, module_hash, imported_modules):
            cached.cache_clear()
        return script_fingerprint(script, root=package.root)

    before = fingerprint()
    script.write_text(script.read_text().replace("Text", "Another text"))
    assert fingerprint() == before
    package("problems/build.py", '"held-out": "benchmark"', '"held-out": "test"')  # the name of a seed
    renamed = fingerprint()
    assert renamed != before
    script.write_text(script.read_text().replace("snakemake,", "snakemake, "))
    assert fingerprint() == renamed
    script.write_text(script.read_text() + "print(1)\n")
    assert fingerprint() != renamed
    script.write_text("pass\n")
    with pytest.raises(ValueError, match="must name one job function"):
        fingerprint()


def test_a_colour_or_a_label_trains_nothing_and_the_meaning_of_a_context_does(package):
    before = fingerprints(package.root)
    package("vocabulary/contexts.py", 'symbol="c=s"', 'symbol="c = s"')
    package("vocabulary/contexts.py", 'Look(VERMILLION, "^", "xx")', 'Look(VERMILLION, "v", "xx")')
    package("vocabulary/looks.py", "#D55E00", "#D55E01")
    assert changed(before, fingerprints(package.root)) <= {"report.figures.words"}
    package("vocabulary/contexts.py", "teacher:sibling_solution", "teacher:foreign_solution")
    assert "training.sdpo" in changed(before, fingerprints(package.root))


def test_keywords_of_the_same_names_count_in_other_calls():
    first, second = (
        ast.dump(reduced(f"runs.dropna(subset={names})\nplot(label={names})", "x.py"))
        for names in (["a"], ["b"])
    )
    assert first != second
