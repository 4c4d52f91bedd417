"""Column types, and how a schema is inferred, merged and evolved. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from lake_pipeline.dataset import SchemaRules
from lake_pipeline.errors import SchemaConflict
from lake_pipeline.kernel.observed import Node
from lake_pipeline.transforms import Transform

Path: TypeAlias = tuple[str, ...]
RESERVED = frozenset({"_source_file", "_rescued"})


@dataclass(frozen=True)
class ListOf:
    """A list column's type."""

    element: Type


@dataclass(frozen=True)
class StructOf:
    """An object inside a list: field names as in the source, and their types."""

    fields: tuple[tuple[str, Type], ...]


# A scalar is one of string, bigint, double, boolean, timestamp (UTC, microseconds), json (JSON text) and text (a
# string column that holds any value: strings as they are, all else as it was written).
Type: TypeAlias = str | ListOf | StructOf


def type_to_json(type_: Type) -> Any:
    """`"bigint"`, `{"list": T}` or `{"struct": [[name, T], …]}`."""
    match type_:
        case ListOf(element):
            return {"list": type_to_json(element)}
        case StructOf(fields):
            return {"struct": [[name, type_to_json(field_type)] for name, field_type in fields]}
        case _:
            return type_


def type_from_json(document: Any) -> Type:
    if isinstance(document, str):
        return document
    if "list" in document:
        return ListOf(type_from_json(document["list"]))
    return StructOf(tuple((name, type_from_json(inner)) for name, inner in document["struct"]))


def type_name(type_: Type) -> str:
    """The type as a person reads it: `list<struct<seq: bigint>>`."""
    match type_:
        case ListOf(element):
            return f"list<{type_name(element)}>"
        case StructOf(fields):
            return f"struct<{', '.join(f'{name}: {type_name(inner)}' for name, inner in fields)}>"
        case _:
            return type_


@dataclass(frozen=True)
class Column:
    """One column of the table: its name, the source path whose value it holds, and its type.

    A column that a declared transform adds has no source path.
    """

    name: str
    path: Path
    type: Type

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "path": list(self.path), "type": type_to_json(self.type)}

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Column:
        return Column(document["name"], tuple(document["path"]), type_from_json(document["type"]))


@dataclass(frozen=True)
class Schema:
    """The columns of a dataset in order, at a version; version 0 is a dataset nobody has converted yet."""

    version: int = 0
    columns: tuple[Column, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"version": self.version, "columns": [column.to_json() for column in self.columns]}

    @staticmethod
    def from_json(document: Mapping[str, Any] | None) -> Schema:
        if document is None:
            return Schema()
        return Schema(document["version"], tuple(map(Column.from_json, document["columns"])))

    def by_path(self) -> dict[Path, Column]:
        return {column.path: column for column in self.columns if column.path}

    def parents(self) -> frozenset[Path]:
        """Paths of the objects that columns come from."""
        return frozenset(column.path[:length] for column in self.columns for length in range(1, len(column.path)))


def _plain_name(path: Path, rename: Mapping[str, str]) -> str:
    return rename.get(".".join(path)) or "_".join(re.sub(r"\W", "_", key) or "_" for key in path)


def column_name(path: Path, rename: Mapping[str, str], taken: Iterable[str]) -> str:
    """The name of a new column: renamed, or its keys joined by `_`; made unique, ignoring case, by `_2`, `_3`, …"""
    name = _plain_name(path, rename)
    used = {other.lower() for other in taken}
    if name.lower() not in used:
        return name
    number = 2
    while f"{name}_{number}".lower() in used:
        number += 1
    return f"{name}_{number}"


def infer(node: Node, *, inside_list: bool = False, levels: int = 3) -> Type | None:
    """The type that holds everything a node was seen to be; None where nothing but null was seen.

    Integers and floats make double; anything with text makes string; what no one type can hold is JSON text.
    `levels` bounds how deep objects inside lists stay structs.
    """
    kinds = node.kinds
    if not kinds:
        return None
    if "any" in kinds or len({"array", "object"} & kinds) == 2:
        return "json"
    if "array" in kinds:
        element = infer(node.element, inside_list=True, levels=levels) if node.element else None
        return ListOf(element) if element and len(kinds) == 1 else "json"
    if "object" in kinds:
        if not inside_list or len(kinds) > 1 or not node.children or levels == 0 or _awkward(node.children):
            return "json"
        fields = ((key, infer(child, inside_list=True, levels=levels - 1)) for key, child in node.items())
        return StructOf(tuple((key, inner or "json") for key, inner in fields))
    if "string" in kinds and not (inside_list and len(kinds) > 1):
        return "string"
    if kinds <= {"int", "long", "huge", "float"}:
        return "double" if "float" in kinds else "bigint"
    return next(iter(kinds)) if kinds in ({"boolean"}, {"timestamp"}) else "json"


def _awkward(keys: Iterable[str]) -> bool:
    """Whether keys cannot all be field names of one struct: engines ignore case, and none takes an empty name."""
    names = [key.lower() for key in keys]
    return "" in names or len(set(names)) != len(names)


@dataclass(frozen=True)
class Change:
    """One difference between two schema versions, and the file and line that first showed it."""

    column: str
    type: str
    path: str
    example: str

    def to_json(self) -> dict[str, str]:
        return {"change": "added", "column": self.column, "type": self.type, "path": self.path, "example": self.example}


@dataclass
class _Evolution:
    rules: SchemaRules
    reserved: frozenset[str]
    columns: list[Column]
    utc: frozenset[str] = frozenset()
    changes: list[Change] = field(default_factory=list)
    names: dict[Path, str] = field(default_factory=dict)

    def choose_names(self, paths: Iterable[Path]) -> None:
        taken = [*(column.name for column in self.columns), *self.reserved]
        for path in paths:
            self.names[path] = column_name(path, self.rules.flatten.rename, taken)
            taken.append(self.names[path])

    def enrich(self, names: Iterable[str]) -> None:
        """Add the columns that a transform adds, where they are not there yet."""
        known = {column.name.lower(): column for column in self.columns}
        for name in names:
            if (column := known.get(name.lower())) is None:
                self.columns.append(Column(name, (), "string"))
                self.changes.append(Change(name, "string", "", "transform.enrich"))
            elif column.path:
                raise SchemaConflict(f"transform.enrich: {name} is the column of {'.'.join(column.path)!r} already")

    def add(self, path: Path, node: Node, type_: Type) -> None:
        name = self.names[path]
        type_ = "timestamp" if name.lower() in self.utc else type_
        self.columns.append(Column(name, path, type_))
        self.changes.append(Change(name, type_name(type_), ".".join(path), node.example))


def evolve(
    schema: Schema,
    seen: Node,
    rules: SchemaRules,
    reserved: frozenset[str] = RESERVED,
    transform: Transform | None = None,
) -> tuple[Schema, tuple[Change, ...]]:
    """The schema after a manifest whose records were seen to be `seen`, and what changed.

    Existing columns never change. In mode `rescue` a known schema stays as it is; in mode `strict` so it does,
    and any difference is an error; in mode `strings` every new column is text. `reserved` are names that no column
    may take. What the `transform` adds becomes a column in every mode, and what it makes a timestamp may be written
    in many ways, which is no difference.

    Raises:
        SchemaConflict: more than `max_columns` columns, or a difference in mode `strict`, or a column that the
            transform adds is there already.
    """
    transform = transform or Transform()
    utc = frozenset(name.lower() for name in transform.utc)
    known = schema.by_path()
    parents = schema.parents()
    if schema.version and rules.mode == "strict":
        lax = (replace(column, type="json") if column.name.lower() in utc else column for column in schema.columns)
        for difference in differences(Schema(schema.version, tuple(lax)), seen):
            raise SchemaConflict(str(difference))
    evolution = _Evolution(rules, reserved | set(transform.added), list(schema.columns), utc)
    if not schema.version or rules.evolves:
        leaves = list(_new_leaves(seen, known, parents, rules, utc))
        # Where names collide, the key that was seen first has the plain one; columns come in the source's order.
        evolution.choose_names(path for path, _ in _new_leaves(seen, known, parents, rules, utc, by_sight=True))
        for path, node in leaves:
            hint = rules.hints.get(".".join(path))
            type_ = hint or infer(node, levels=rules.flatten.depth)
            if type_ is not None:
                evolution.add(path, node, "text" if rules.mode == "strings" else type_)
    if any(column.path for column in evolution.columns):  # else there was no record to learn from
        evolution.enrich(transform.added)
    width = sum(_width(column.type) for column in evolution.columns)
    if evolution.changes and width > rules.max_columns:
        raise too_wide(seen, rules.max_columns)
    if not evolution.changes:
        return schema, ()
    return Schema(schema.version + 1, tuple(evolution.columns)), tuple(evolution.changes)


def _new_leaves(
    node: Node,
    known: Mapping[Path, Column],
    parents: frozenset[Path],
    rules: SchemaRules,
    utc: frozenset[str],
    path: Path = (),
    *,
    by_sight: bool = False,
) -> Iterator[tuple[Path, Node]]:
    """Paths without a column that must get one, in the order of the source's keys or in that of their first sight."""
    for key, child in node.children.items() if by_sight else node.items():
        here = (*path, key)
        if here in known and here not in parents:
            continue
        if rules.mode == "strings" and (here in parents or child.children):
            yield from _new_leaves(child, known, parents, rules, utc, here, by_sight=by_sight)
            if here not in known and child.kinds - {"object"}:
                yield here, child  # what is no object has a column beside those of the object's keys
        elif here in parents or (
            child.children and not {"any", "array"} & child.kinds and not _hinted(here, rules, utc)
        ):
            yield from _new_leaves(child, known, parents, rules, utc, here, by_sight=by_sight)
        else:
            yield here, child


def _hinted(path: Path, rules: SchemaRules, utc: frozenset[str]) -> bool:
    return ".".join(path) in rules.hints or _plain_name(path, rules.flatten.rename).lower() in utc


@dataclass(frozen=True)
class Difference:
    """Something seen that a schema has no place for: a value of a known path, or a new key (`type` is None)."""

    path: str
    column: str
    type: str | None
    kind: str
    example: str

    def __str__(self) -> str:
        if self.type is None:
            return f"{self.example}: new key {self.path!r} ({self.kind}), and schema.mode is strict"
        if self.type == "object":
            return (
                f"{self.example}: {self.path!r} is an object whose keys are columns, and this value is {self.kind}"
                " (schema.mode is strict)"
            )
        return (
            f"{self.example}: column {self.column!r} is {self.type}, and this value is or holds {self.kind}"
            " (schema.mode is strict)"
        )


def differences(schema: Schema, seen: Node) -> Iterator[Difference]:
    """What was seen and has no place in the schema, in the order of the source; a new key once."""
    return _differences(seen, schema.by_path(), schema.parents())


def _differences(
    seen: Node, known: Mapping[Path, Column], parents: frozenset[Path], path: Path = ()
) -> Iterator[Difference]:
    for key, child in seen.items():
        here = (*path, key)
        label = ".".join(here)
        if here in known:
            column = known[here]
            for kind, example in _misfits(child, column.type):
                yield Difference(label, column.name, type_name(column.type), kind, example)
        elif here in parents:
            for kind, example in child.examples.items():
                if kind != "object":
                    yield Difference(label, label, "object", kind, example)
            yield from _differences(child, known, parents, here)
        elif child.kinds:
            yield Difference(label, label, None, " or ".join(sorted(child.kinds)), child.example)


def _misfits(seen: Node, type_: Type) -> Iterator[tuple[str, str]]:
    """Each kind of value that was seen and has no place in the type, and where."""
    for kind, example in seen.examples.items():
        if not admits(type_, kind):
            yield kind, example
    match type_:
        case ListOf(element) if seen.element:
            yield from _misfits(seen.element, element)
        case StructOf(fields):
            types = dict(fields)
            for key, child in seen.items():
                if key in types:
                    yield from _misfits(child, types[key])
                elif child.kinds:
                    yield f"a new key {key!r}", child.example


def admits(type_: Type, kind: str) -> bool:
    """Whether a value of this kind can fit the type at all; whether it does is for `kernel.exact.fits`."""
    match type_:
        case ListOf():
            return kind == "array"
        case StructOf():
            return kind == "object"
        case "json" | "text":
            return True
        case "double":
            return kind in ("int", "float")
        case "bigint":
            return kind in ("int", "long")
        case _:
            return kind == type_


def _width(type_: Type) -> int:
    """How many columns Parquet needs for a type."""
    match type_:
        case ListOf(element):
            return _width(element)
        case StructOf(fields):
            return sum(_width(inner) for _, inner in fields)
        case _:
            return 1


def too_wide(seen: Node, most: int) -> SchemaConflict:
    """The error for more columns than `max_columns`, which names the object with the most keys."""
    return SchemaConflict(
        f"more columns are needed than schema.max_columns allows ({most:,}). An object whose keys are data, such as"
        f" {widest(seen)}, belongs under schema.flatten.keep_json"
    )


def widest(node: Node) -> str:
    """The dotted path of the object with the most keys."""

    def walk(current: Node, here: str) -> Iterator[tuple[int, str]]:
        yield len(current.children), here
        for key, child in current.items():
            yield from walk(child, f"{here}.{key}" if here else key)
        if current.element:
            yield from walk(current.element, here)

    return max(walk(node, ""))[1] or "the record itself"
