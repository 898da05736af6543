"""The notebooks: stored clean, and run top to bottom on the results of the end-to-end run (`finished`)."""

import re
import shutil
from pathlib import Path

import nbformat
import pandas
import papermill
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    """Each notebook in turn."""
    return request.param


def code_cells(notebook):
    """The code cells of a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} >= {
        "explore_results",
        "training_dynamics",
        "example_responses",
        "your_own_contrast",
    }


def test_notebook_is_stored_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in code_cells(notebook):
        assert (cell.outputs, cell.execution_count) == ([], None), f"cell {cell.id}: strip the outputs"
        assert not set(cell.metadata) - {"tags"}, f"cell {cell.id}: {cell.metadata}"


def test_first_code_cell_is_the_parameters(path):
    first = code_cells(nbformat.read(path, as_version=4))[0]
    assert first.metadata.get("tags") == ["parameters"]
    assert first.source.startswith('STUDY = "mini"')
    assert '\nROOT = ".."' in first.source


def test_notebook_reads_and_writes_nothing(path):
    source = "\n".join(cell.source for cell in code_cells(nbformat.read(path, as_version=4)))
    assert not re.search(
        r"\.to_(csv|parquet|json)\(|savefig|write_|open\(", source.replace("open_study(", "")
    )
    assert "import torch" not in source


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Run a notebook on the test study below a folder, and return it with its outputs."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):  # nothing of the user's
        monkeypatch.setenv(name, str(tmp_path / name.lower()))

    def run(path, root):
        papermill.execute_notebook(
            path,
            tmp_path / path.name,
            {"STUDY": "test", "ROOT": str(root)},
            kernel_name="python3",
            cwd=FOLDER,
            progress_bar=False,
            execution_timeout=300,
        )
        return nbformat.read(tmp_path / path.name, as_version=4)

    return run


@pytest.mark.parametrize("name", ["example_responses", "training_dynamics"])
def test_a_notebook_of_single_runs_tells_replicates_apart(name, finished, tmp_path, execute):
    root = shutil.copytree(finished.root, tmp_path / "study", symlinks=True)
    for first in root.glob("results/test/runs/**/replicate-0"):
        second = shutil.copytree(first, first.with_name("replicate-1"))
        for file in second.rglob("*.parquet"):
            frame = pandas.read_parquet(file)
            if "replicate" in frame:
                frame.assign(replicate=frame["replicate"] + 1).to_parquet(file)
    *_, last = code_cells(execute(FOLDER / f"{name}.ipynb", root))
    if name == "training_dynamics":
        (shown,) = (item.data["text/html"] for item in last.outputs if "data" in item)
        steps = [int(cell) for cell in re.findall(r"</th>\s*<td>(\d+)</td>", shown)]
        records = root.glob("results/test/runs/**/training.parquet")
        assert sorted(steps) == sorted(len(pandas.read_parquet(path, columns=["step"])) for path in records)


def test_notebook_runs_top_to_bottom(path, finished, execute):
    executed = execute(path, finished.root)
    shown = [item.data for cell in code_cells(executed) for item in cell.outputs if "data" in item]
    assert shown
    if path.stem != "example_responses":
        assert any("image/png" in data for data in shown)


def test_missing_results_are_named_with_the_command(tmp_path):
    from selfdistill.explore import ResultsError

    with pytest.raises(papermill.PapermillExecutionError, match="make mini") as error:
        papermill.execute_notebook(
            NOTEBOOKS[0],
            tmp_path / "out.ipynb",
            {"ROOT": str(tmp_path)},
            kernel_name="python3",
            progress_bar=False,
        )
    assert error.value.ename == ResultsError.__name__
