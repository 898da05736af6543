"""Reading YAML and turning what is wrong with it into messages with the file, the key and what is allowed."""

import difflib
import functools
import re
import types
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, DuplicateKeyError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError

Model = TypeVar("Model", bound=BaseModel)


class StudyError(ValueError):
    """A study file that cannot be run, with the file, the key and the allowed values."""


class PlainNumbers(SafeConstructor):
    """Constructor that refuses `1_2`, which YAML 1.2 does not call a number."""

    def construct_yaml_int(self, node: Any) -> int:
        """Return an integer; raise ConstructorError on an underscore in it."""
        if "_" in node.value:
            raise ConstructorError(None, None, f"{node.value!r} is not a number", node.start_mark)
        return super().construct_yaml_int(node)


PlainNumbers.add_constructor("tag:yaml.org,2002:int", PlainNumbers.construct_yaml_int)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, not to be changed by its reader; raise StudyError if there is none."""
    try:
        content = parse_yaml(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: cannot be read (not UTF-8: {error.reason})") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise StudyError(f"{path}: {describe_yaml_error(error)}") from error
    if not isinstance(content, dict):
        raise StudyError(f"{path}: must be a mapping of keys to values")
    return content


@functools.lru_cache(maxsize=64)
def parse_yaml(text: str) -> Any:
    """Return the content of a YAML text; a repeated key is an error.

    The parser is the pure one: ruamel's C parser reads YAML 1.1. A text is parsed once per process.
    """
    reader = YAML(typ="safe", pure=True)
    reader.Constructor = PlainNumbers
    return reader.load(text)


def describe_yaml_error(error: Exception) -> str:
    """Return one line on a text that is not YAML: its place, and what is wrong there."""
    if isinstance(error, RecursionError):
        return "invalid YAML: nested too deeply"
    if not isinstance(error, MarkedYAMLError):
        return f"invalid YAML: {' '.join(str(error).split())}"
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}: " if mark else ""
    if isinstance(error, DuplicateKeyError):
        key = re.search(r'duplicate key "(.*?)" with value', str(error.problem), re.DOTALL)
        return f"{place}duplicate key: {key[1] if key else error.problem}"
    return f"{place}invalid YAML: {' '.join(str(error.problem or error.context).split())}"


def reject(
    path: Path, key: str, problem: str, allowed: Iterable[str] = (), value: str | None = None
) -> NoReturn:
    """Raise the StudyError of one key; `value`, where given, is looked for among the allowed ones."""
    names = list(allowed)
    parts = [f"{path}: {key}: {problem}"]
    if names:
        parts.append(f"allowed: {', '.join(names)}")
    raise StudyError("; ".join(parts) + (suggestion(value, names) if value is not None else ""))


def suggestion(value: str, names: Iterable[str]) -> str:
    """Return `; did you mean …?` if a name is close to `value`, else nothing."""
    close = difflib.get_close_matches(value, list(names), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def validated(
    kind: type[Model], content: Any, path: Path, prefix: Callable[[str], str] | None = None
) -> Model:
    """Return `content` as a `kind`; raise StudyError with one line for each thing that is wrong.

    prefix: where a top-level key of `content` stands in the file, if not at its top.
    """
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        lines = [f"{path}: {describe(kind, item, prefix)}" for item in error.errors()]
        raise StudyError("\n".join(dict.fromkeys(lines))) from error


def describe(kind: type[BaseModel], error: Any, prefix: Callable[[str], str] | None) -> str:
    """Return one validation error in words: key path, what is wrong, what is allowed."""
    model, place = walk(kind, error["loc"])
    if prefix is not None and place:
        place = [prefix(place[0]), *place]
    key = ".".join(place).removesuffix(".[key]")
    value = error["input"]
    if error["type"] == "extra_forbidden":
        names = list(model.model_fields) if model else []
        return f"{key}: unknown key; allowed: {', '.join(names)}{suggestion(str(error['loc'][-1]), names)}"
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"] in ("literal_error", "union_tag_invalid"):
        return f"{key}: {describe_choice(value, error['ctx'])}"
    shown = f", not {value!r}" if not isinstance(value, dict | list) else ""
    return f"{key}: {error['msg'].removeprefix('Value error, ')}{shown}"


def describe_choice(value: Any, context: dict[str, str]) -> str:
    """Return in words a value that is not among the choices, the choices, and what may have been meant."""
    expected = context.get("expected") or context["expected_tags"]
    names = [name.strip(" '") for name in expected.replace(" or ", ", ").split(",")]
    shown = value.get("source") if isinstance(value, dict) else value
    return f"{shown!r} is not allowed; allowed: {', '.join(names)}{suggestion(str(shown), names)}"


def walk(kind: Any, location: tuple[Any, ...]) -> tuple[type[BaseModel] | None, list[str]]:
    """Follow an error's location through the types: the model that holds its last key, and the key path as in
    the file.

    Pydantic puts the tags of unions into locations; they are not keys of the file and are left out.
    """
    model, place = None, []
    for index, part in enumerate(location):
        kind = unwrapped(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            model = kind
            place.append(str(part))
            kind = kind.model_fields[part].annotation if part in kind.model_fields else None
        elif get_origin(kind) in (list, dict):
            place.append(str(part))
            kind = get_args(kind)[-1]
        elif get_origin(kind) in (Union, types.UnionType):
            kind = member(kind, part)
        elif kind is None or index == len(location) - 1:
            continue
    return model, place


def unwrapped(kind: Any) -> Any:
    """Return a type without Annotated and without the None of an optional."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif (
            get_origin(kind) in (Union, types.UnionType)
            and len(rest := [a for a in get_args(kind) if a is not type(None)]) == 1
        ):
            kind = rest[0]
        else:
            return kind


def member(union: Any, tag: Any) -> Any:
    """Return the member of a union that a location's tag names: by its `source` literal, or None."""
    for candidate in get_args(union):
        fields = getattr(unwrapped(candidate), "model_fields", {})
        if (
            "source" in fields
            and get_origin(fields["source"].annotation) is Literal
            and tag in get_args(fields["source"].annotation)
        ):
            return candidate
    return None


def known(path: Path, key: str, names: Iterable[str], allowed: Iterable[str], where: str = "") -> None:
    """Raise StudyError for a name that is not one of the allowed ones."""
    allowed = list(allowed)
    for name in names:
        if name not in allowed:
            reject(path, key, f"{name!r} is not declared{f' in {where}' if where else ''}", allowed, name)


def distinct(path: Path, key: str, values: Sequence[object]) -> None:
    """Raise StudyError for a value that is listed twice."""
    for value in values:
        if list(values).count(value) > 1:
            reject(path, key, f"{value!r} is listed twice")
