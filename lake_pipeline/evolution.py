"""How a schema is inferred and evolves. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from lake_pipeline.differences import differences
from lake_pipeline.errors import SchemaConflict
from lake_pipeline.kernel.observed import Node
from lake_pipeline.schema_rules import SchemaRules
from lake_pipeline.schemas import RESERVED, Column, ListOf, Path, Schema, StructOf, Type, decimal_of, type_name
from lake_pipeline.transforms import Transform

# What 128 bits hold, and the most that Parquet's readers take.
MAX_PRECISION = 38


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
    if len(kinds) == 1 and kinds <= {"boolean", "timestamp", "date", "time", "binary"}:
        return next(iter(kinds))
    return _decimal(kinds) or "json"


def _decimal(kinds: set[str]) -> str | None:
    """The decimal type that holds what all of these kinds hold, if 38 digits are enough."""
    parts = [(19, 0) if kind == "int" else decimal_of(kind) for kind in kinds]
    if any(part is None for part in parts):
        return None
    scale = max(part[1] for part in parts if part)
    precision = max(part[0] - part[1] for part in parts if part) + scale
    return f"decimal({precision}, {scale})" if precision <= MAX_PRECISION else None


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
            transform adds is there already, or the array to explode was kept as a list until now.
    """
    transform = transform or Transform()
    utc = frozenset(name.lower() for name in transform.utc)
    known = schema.by_path()
    parents = schema.parents()
    if schema.version and rules.mode == "strict":
        lax = (replace(column, type="json") if column.name.lower() in utc else column for column in schema.columns)
        for difference in differences(Schema(schema.version, tuple(lax)), seen):
            raise SchemaConflict(str(difference))
    if path := rules.flatten.explode_path:
        _check_explode(path, known.get(path), seen)
    evolution = _Evolution(rules, reserved | set(transform.added), list(schema.columns), utc)
    if not schema.version or rules.evolves:
        # Where names collide, the key that was seen first has the plain one; columns come in the source's order.
        evolution.choose_names(path for path, _ in _new_leaves(seen, known, parents, rules, utc, by_sight=True))
        for path, node in _new_leaves(seen, known, parents, rules, utc):
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


def _check_explode(path: Path, column: Column | None, seen: Node) -> None:
    """A column of whole arrays, made before the array was exploded, would rescue every element."""
    node: Node | None = seen
    for key in path:
        node = node.children.get(key) if node else None
    if column and isinstance(column.type, ListOf) and node and node.kinds and "array" not in node.kinds:
        raise SchemaConflict(
            f"schema.flatten.explode: {column.name} is {type_name(column.type)} already, and a type never changes;"
            " exploded rows belong into a dataset of another name"
        )


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
