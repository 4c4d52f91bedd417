"""Dataset declarations from YAML files, with errors that name the file, the line and the field."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import DeclarationError

Field = tuple[int | str, ...]
# Where the lake keeps what is its own: staged files, manifests and results; and what was set aside.
_OWN = ("_", "manifests/", "quarantine/", "extracts/")

# With aliases and merge keys a few lines of YAML can stand for billions of values.
_MAX_VALUES = 100_000


class _Loader(yaml.SafeLoader):
    """Plain data only, as SafeLoader; and text that looks like a date is text."""

    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
        tag = str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]
        return "tag:yaml.org,2002:str" if tag == "tag:yaml.org,2002:timestamp" else tag


@dataclass(frozen=True)
class _Declaration:
    """A valid declaration and the line of each of its fields."""

    path: Path
    dataset: Dataset
    lines: dict[Field, int]

    def problem(self, field: Field, message: str) -> str:
        return _problem(self.path, self.lines, field, message)


def load_dataset(path: Path) -> Dataset:
    """The dataset that a YAML file declares.

    Raises:
        DeclarationError: the file cannot be read or is not valid; one line for each problem.
    """
    declaration = _read(path)
    _refuse(_overlaps([declaration]))
    return declaration.dataset


def load_datasets(directory: Path) -> dict[str, Dataset]:
    """The datasets that the `*.yaml` and `*.yml` files of a directory declare, by name, sorted.

    Raises:
        DeclarationError: a file is not valid, or two claim one name or overlapping prefixes; one line for each problem.
    """
    if not directory.is_dir():
        raise DeclarationError(f"{directory} is not a directory")
    paths = sorted(path for path in directory.iterdir() if path.suffix in (".yaml", ".yml") and path.is_file())
    if not paths:
        raise DeclarationError(f"{directory} holds no *.yaml file")
    declarations: list[_Declaration] = []
    problems: list[str] = []
    for path in paths:
        try:
            declarations.append(_read(path))
        except DeclarationError as error:
            problems.append(error.detail)
    problems += _duplicate_names(declarations)
    problems += _overlaps(declarations)
    problems += _shared_manifests(declarations)
    _refuse(problems)
    return {item.dataset.name: item.dataset for item in sorted(declarations, key=lambda item: item.dataset.name)}


def schema_json() -> dict[str, Any]:
    """The JSON Schema of a declaration, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Dataset.model_json_schema(by_alias=True),
    }


def _read(path: Path) -> _Declaration:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DeclarationError(f"{path}:{line}: not UTF-8 text") from error
    except OSError as error:
        raise DeclarationError(f"{path}: {error.strerror}") from error
    lines: dict[Field, int] = {}
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise DeclarationError(f"{path}:1: the file is empty")
        if not isinstance(node, yaml.MappingNode):
            raise DeclarationError(f"{path}:{_line(node)}: a declaration is a mapping of fields, such as name: events")
        if _values(node, {}) > _MAX_VALUES:
            raise DeclarationError(f"{path}:{_line(node)}: its aliases stand for more than {_MAX_VALUES:,} values")
        problems = list(_walk(node, (), lines, path, set()))
        document = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise DeclarationError(f"{path}:{_reason(error)}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # A control character has a position; `!!int x` and nesting without end have none.
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise DeclarationError(f"{path}:{line}: not valid YAML: {' '.join(str(error).split())}") from error
    try:
        dataset = Dataset.model_validate(document)
    except ValidationError as error:
        found = [(item["loc"], _message(item["type"], item["loc"], item["msg"])) for item in error.errors()]
        problems += [_problem(path, lines, field, message) for field, message in found]
        raise DeclarationError("\n".join(problems)) from error
    _refuse(problems)
    return _Declaration(path, dataset, lines)


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, those of an alias each time that it is used."""
    if id(node) not in known:
        known[id(node)] = 1  # what an alias inside of its own anchor counts
        below: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            below = node.value
        elif isinstance(node, yaml.MappingNode):
            below = [part for pair in node.value for part in pair]
        known[id(node)] += sum(_values(item, known) for item in below)
    return known[id(node)]


def _walk(node: yaml.Node, field: Field, lines: dict[Field, int], path: Path, seen: set[int]) -> Iterator[str]:
    """Note the line of every field below a node; yields a problem for each key that is there twice."""
    lines.setdefault(field, _line(node))
    if id(node) in seen:  # an alias: its lines are those of the anchor
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk(item, (*field, index), lines, path, seen)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*field, str(key.value))
            if below in lines:
                first = lines[below]
                yield f"{path}:{_line(key)}: {_dotted(below)}: the key is there twice, first on line {first}"
                continue
            lines[below] = _line(key)
            yield from _walk(value, below, lines, path, seen)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _reason(error: yaml.MarkedYAMLError) -> str:
    mark, began = error.problem_mark, error.context_mark
    line = mark.line + 1 if mark else 1
    where = f", {error.context} that began on line {began.line + 1}" if began and began.line + 1 != line else ""
    return f"{line}: not valid YAML: {error.problem}{where}"


def _problem(path: Path, lines: dict[Field, int], field: Field, message: str) -> str:
    known = next(field[:length] for length in range(len(field), -1, -1) if field[:length] in lines)
    return f"{path}:{lines[known]}: {_dotted(field)}: {message}"


def _dotted(field: Field) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in field if part != "[key]")
    return text.lstrip(".") or "the declaration"


def _message(kind: str, field: Field, text: str) -> str:
    if kind == "extra_forbidden":
        names = _field_names(field[:-1])
        close = difflib.get_close_matches(str(field[-1]), names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the fields here are {', '.join(names)}"
        return f"no such field; {hint}"
    if kind == "missing":
        return "the field is missing"
    return text.removeprefix("Value error, ")


def _field_names(parent: Field) -> list[str]:
    """What the mapping at a field may hold."""
    model: type[BaseModel] = Dataset
    for part in parent:
        info = next((info for name, info in model.model_fields.items() if (info.alias or name) == part), None)
        model = (_model_in(info.annotation) if info else None) or model
    return [info.alias or name for name, info in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part))), None)


def _duplicate_names(declarations: list[_Declaration]) -> Iterator[str]:
    first: dict[str, Path] = {}
    for item in declarations:
        other = first.setdefault(item.dataset.name, item.path)
        if other is not item.path:
            yield item.problem(("name",), f"{item.dataset.name} is declared by {other} too")
    for item in declarations:
        for index, extract in enumerate(item.dataset.extracts):
            table = f"{item.dataset.name}_{extract.name}"
            other = first.setdefault(table, item.path)
            if table in (declared.dataset.name for declared in declarations) or other is not item.path:
                yield item.problem(("extracts", index, "name"), f"the table {table} is declared by {other} too")


def _shared_manifests(declarations: list[_Declaration]) -> Iterator[str]:
    """A problem for each dataset whose manifests would have the names of another's."""
    owners: dict[str, str] = {}
    for item in declarations:
        place = item.dataset.batch.manifests.replace("{dataset}", item.dataset.name)
        owner = owners.setdefault(place, item.dataset.name)
        if owner != item.dataset.name:
            yield item.problem(("batch", "manifests"), f"{place} names the manifests of {owner} too")


def _overlaps(declarations: list[_Declaration]) -> Iterator[str]:
    """A problem for each prefix inside another: what lands there would be read, replaced or moved twice."""
    claims: list[tuple[str, str]] = []
    for item in declarations:
        dataset = item.dataset
        prefixes = {"source": dataset.source.prefix, "output": dataset.output.stem, "archive": dataset.archive.prefix}
        for part, prefix in prefixes.items():
            if prefix is None:
                continue
            # A placeholder may be filled with anything, so that a beginning of these could become them.
            filled = part == "output" and prefix != dataset.output.prefix
            if prefix.startswith(_OWN) or (filled and any(own.startswith(prefix) for own in _OWN)):
                yield item.problem((part, "prefix"), f"{prefix} is kept for the lake itself")
            for owner, other in claims:
                if prefix.startswith(other) or other.startswith(prefix):
                    yield item.problem((part, "prefix"), f"{prefix} overlaps {other}, {owner}")
            claims.append((f"the {part} prefix of {dataset.name}", prefix))


def _refuse(problems: Iterable[str]) -> None:
    lines = list(problems)
    if lines:
        raise DeclarationError("\n".join(lines))
