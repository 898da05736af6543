"""Fingerprints of the code that a result depends on, so that a changed comment reruns no training job.

Snakemake's own code trigger uses the modification time of a rule's script and ignores the library. The profiles switch
it off; instead, each rule has `code=script_fingerprint(...)` among its params. This is a hash of the syntax trees
(hence without comments, layout and docstrings) of its script, of the module of the job function that the script names,
of modules that the rule adds, and of all modules of this package that these import directly or indirectly. They are
found by reading the sources, not by importing them.

INFRASTRUCTURE does not count: it defines what is asked, where files are and how jobs run, and what it passes to a job is
already in the job's params and paths. Record schemas count through `records.schemas.SCHEMA_VERSION`. Also not counted are
DISPLAY keywords of contexts (symbols, colours), which figures and tables count by `appearance`, imports under
`if TYPE_CHECKING:`, and blocks under `if backend == "vllm":`, which studies with another backend never enter; rules name the
module of their own backend and the modules of the graders that the study chose, which are loaded by name.
"""

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from selfdistill.records.schemas import SCHEMA_VERSION

PACKAGE = "selfdistill"
NOT_RUN = frozenset({"TYPE_CHECKING", "typing.TYPE_CHECKING", "backend == 'vllm'"})
"""Conditions whose blocks do not count, in the form of ast.unparse."""
INFRASTRUCTURE = tuple(
    f"{PACKAGE}.{name}"
    for name in (
        "study",
        "records",
        "jobs",
        "commands",
        "vocabulary.runs",
        "vocabulary.looks",
        "vocabulary.graders",
    )
)
"""Packages and modules that do not count."""
HOLDS_STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)
"""What an import statement can be, or stand in."""
DECLARATION = "Context"
DISPLAY = frozenset({"look", "symbol", "subset"})
"""Keywords of a DECLARATION that affect only figures and messages."""
SHOWN = ("vocabulary/looks.py", "vocabulary/contexts.py", "study/displays.py", "study/methods/*.py")
"""Modules that declare how things are shown, below the package."""
JOB_FUNCTION = re.compile(rf"{PACKAGE}\.[\w.]+:\w+")
"""Form in which a script names its job function."""
ROOT = Path(__file__).resolve().parents[1]


class MissingFunction(LookupError):
    """A declaration names a function that does not exist."""


def code_fingerprint(*modules: str, root: Path = ROOT) -> str:
    """Return the SHA-256 (hex) of the code of `modules` (names below the package: `training.sdpo`) and of their imports.

    Raise ModuleNotFoundError for a name without a source file below `root` (the folder of the package).
    """
    digest = hashlib.sha256(f"schema {SCHEMA_VERSION}\n".encode())
    for name in sorted(reachable(tuple(f"{PACKAGE}.{module}" for module in modules), root)):
        digest.update(f"{name} {module_hash(source_path(name, root))}\n".encode())
    return digest.hexdigest()


def appearance(root: Path = ROOT) -> str:
    """Return the SHA-256 (hex) of the declarations of looks, symbols, labels and headings, which all figures, tables and reports show."""
    files = sorted(path for pattern in SHOWN for path in root.glob(pattern))
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    for tree in trees:
        strip(tree)
    return hashlib.sha256("\n".join(map(ast.dump, trees)).encode()).hexdigest()


def script_fingerprint(script: Path, *modules: str, root: Path = ROOT) -> str:
    """Return the SHA-256 (hex) of the code of a script, of the module of its job function, and of `modules`.

    Raise ValueError unless the script names exactly one job function.
    """
    names = [
        node.value
        for node in ast.walk(syntax_tree(script))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and JOB_FUNCTION.fullmatch(node.value)
    ]
    if len(names) != 1:
        raise ValueError(f"{script}: must name one job function (module:function), not {len(names)}")
    module = names[0].partition(":")[0].removeprefix(f"{PACKAGE}.")
    library = code_fingerprint(module, *modules, root=root)
    return hashlib.sha256(f"{module_hash(script)} {library}".encode()).hexdigest()


def check_declared(functions: Iterable[str], root: Path = ROOT) -> None:
    """Raise MissingFunction if a declared `module:function` of the library does not exist.

    Declarations only name functions, so that reading them imports nothing. This looks them up in the sources.
    """
    for function in functions:
        module, _, name = function.partition(":")
        path = source_path(module, root)
        defined = {node.name for node in syntax_tree(path).body if hasattr(node, "name")} if path else set()
        if name not in defined:
            raise MissingFunction(f"{function} is declared, but there is no such function")


def reachable(modules: tuple[str, ...], root: Path = ROOT) -> set[str]:
    """Return the full names of `modules` and of their direct and indirect imports in the package, without infrastructure."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or is_infrastructure(name):
            continue
        path = source_path(name, root)
        if path is None:
            raise ModuleNotFoundError(f"no module {name} below {root}")
        found.add(name)
        waiting.extend(imported_modules(name, path, root))
        # importing a module also runs the __init__ of the packages around it
        waiting.extend(parent for parent in parents(name) if parent != PACKAGE)
    return found


def is_infrastructure(name: str) -> bool:
    """Return whether a module is one of INFRASTRUCTURE or lies in one of them."""
    return any(name == other or name.startswith(f"{other}.") for other in INFRASTRUCTURE)


def source_path(name: str, root: Path = ROOT) -> Path | None:
    """Return the source file of the module or package `name`; None if there is none."""
    stem = root.joinpath(*name.split(".")[1:])
    candidates = (
        (stem / "__init__.py", stem.with_suffix(".py")) if name != PACKAGE else (root / "__init__.py",)
    )
    return next((path for path in candidates if path.is_file()), None)


def parents(name: str) -> Iterator[str]:
    """Yield the packages around the module `name`, innermost first."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


@cache
def syntax_tree(path: Path) -> ast.Module:
    """Return the syntax tree of a source file, without the parts that do not count."""
    return reduced(path.read_text(encoding="utf-8"), str(path))


@cache
def module_hash(path: Path) -> str:
    """Return the SHA-256 (hex) of the reduced syntax tree of a source file."""
    return hashlib.sha256(ast.dump(syntax_tree(path)).encode()).hexdigest()


def import_statements(path: Path) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the import statements of a source file."""
    return (
        node for node in statements_of(syntax_tree(path)) if isinstance(node, ast.Import | ast.ImportFrom)
    )


def reduced(source: str, filename: str) -> ast.Module:
    """Return the syntax tree without what does not count: docstrings, DISPLAY keywords, and the blocks of NOT_RUN conditions.

    Expressions, most of a tree, are visited only where the source has a DECLARATION.
    """
    tree = ast.parse(source, filename=filename)
    strip(tree)
    if f"{DECLARATION}(" in source:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == DECLARATION:
                node.keywords = [keyword for keyword in node.keywords if keyword.arg not in DISPLAY]
    return tree


def strip(tree: ast.Module) -> None:
    """Take docstrings and the blocks of NOT_RUN conditions out of a syntax tree."""
    for node in statements_of(tree):
        for block in ("body", "orelse", "finalbody"):
            if statements := getattr(node, block, None):
                setattr(node, block, list(counting(statements)))
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and is_docstring(node.body):
            node.body = node.body[1:]


def statements_of(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the tree, its statements, and what holds statements in them; those inside of one come after it."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, HOLDS_STATEMENTS))


def counting(statements: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a block, those of its else branch in place of one with a NOT_RUN condition."""
    for statement in statements:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) in NOT_RUN:
            yield from counting(statement.orelse)
        else:
            yield statement


def is_docstring(body: list[ast.stmt]) -> bool:
    """Return whether the first statement of `body` is a string."""
    first = body[0] if body else None
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )


@cache
def imported_modules(name: str, path: Path, root: Path = ROOT) -> frozenset[str]:
    """Return the modules of the package that the module `name` imports, also inside functions; cached, since all rules share most."""
    found: set[str] = set()
    for node in import_statements(path):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name.startswith(f"{PACKAGE}."))
        else:
            found.update(modules_of_import(node, name, path, root))
    return frozenset(found)


def modules_of_import(node: ast.ImportFrom, name: str, path: Path, root: Path) -> Iterator[str]:
    """Yield the package's modules in one `from … import …`: the module, and imported names that are modules."""
    base = node.module or ""
    if node.level:  # relative import: one dot is the package around the module (for an __init__, itself)
        around = [name, *parents(name)] if path.name == "__init__.py" else list(parents(name))
        base = ".".join(filter(None, (around[node.level - 1], node.module)))
    if base.split(".")[0] != PACKAGE:
        return
    if base != PACKAGE:
        yield base
    yield from (f"{base}.{alias.name}" for alias in node.names if source_path(f"{base}.{alias.name}", root))
