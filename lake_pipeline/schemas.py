"""Columns, their types, and the schema they make up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

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
# string column that holds any value: strings as they are, all else as it was written). Parquet sources have date, time
# (microseconds), binary and decimal(p, s) too.
Type: TypeAlias = str | ListOf | StructOf


_DECIMAL = re.compile(r"decimal\((\d+), (\d+)\)")


def decimal_of(type_: Type) -> tuple[int, int] | None:
    """Precision and scale of a decimal type, such as `decimal(10, 2)`; None for every other type."""
    match = _DECIMAL.fullmatch(type_) if isinstance(type_, str) else None
    return (int(match[1]), int(match[2])) if match else None


def leaves(type_: Type) -> Iterator[str]:
    """The types of single values inside a type; the type itself where it is one."""
    match type_:
        case ListOf(element):
            yield from leaves(element)
        case StructOf(fields):
            for _, inner in fields:
                yield from leaves(inner)
        case _:
            yield type_


def needs_parquet(type_: Type) -> bool:
    """Whether the type, or one inside it, is of those that no JSON value has."""
    return any(leaf in ("date", "time", "binary") or decimal_of(leaf) is not None for leaf in leaves(type_))


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
