"""The house keeps its contract: who may import whom, no circle, and the size of its functions and files."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import grimp
import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    *sorted((ROOT / "src/selfdistill").rglob("*.py")),
    *sorted((ROOT / "workflow/scripts").glob("*.py")),
]
LONGEST_FILE, LONGEST_FUNCTION, MEDIAN_FUNCTION = 300, 60, 10
TYPED, DESCRIBED = 0.97, 0.97


def test_rooms_import_only_from_rooms_below():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph("selfdistill", exclude_type_checking_imports=True)
    above: dict[str, set[str]] = {
        module: graph.find_modules_directly_imported_by(module) for module in graph.modules
    }
    while free := {module for module, imported in above.items() if not imported & above.keys()}:
        above = {module: imported for module, imported in above.items() if module not in free}
    assert not above


def functions() -> Iterator[tuple[Path, ast.FunctionDef]]:
    """Every function of the library and the scripts."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def lines(node: ast.AST) -> int:
    """Lines of a function."""
    return node.end_lineno - node.lineno + 1


def is_typed(node: ast.FunctionDef) -> bool:
    """Whether a signature says what goes in and out (trainer hooks of TRL are typed by TRL)."""
    own = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    named = [argument for argument in own if argument.arg not in ("self", "cls")]
    return node.returns is not None and all(argument.annotation for argument in named)


def test_files_and_functions_are_short():
    found = list(functions())
    assert not [f"{path}: {node.name}" for path, node in found if lines(node) > LONGEST_FUNCTION]
    assert median(lines(node) for _, node in found) <= MEDIAN_FUNCTION
    assert not [path for path in SOURCES if len(path.read_text().splitlines()) > LONGEST_FILE]


@pytest.mark.parametrize("kind", ["typed", "described"])
def test_signatures_are_typed_and_public_functions_described(kind):
    nodes = [node for _, node in functions()]
    if kind == "typed":
        wanted, share = [node for node in nodes if not node.name.startswith("__")], TYPED
        missing = [node.name for node in wanted if not is_typed(node)]
    else:
        wanted, share = [node for node in nodes if not node.name.startswith("_")], DESCRIBED
        missing = [node.name for node in wanted if not ast.get_docstring(node)]
    assert 1 - len(missing) / len(wanted) >= share, missing


def test_every_module_says_what_it_is():
    assert not [path for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))]
