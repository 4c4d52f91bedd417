"""What a Parquet file's columns are seen to be: the kinds that a schema is inferred from, by type and not by value."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.types as pat

from lake_pipeline.differences import admits
from lake_pipeline.kernel.observed import ELEMENT, Lens, Node
from lake_pipeline.kernel.source import Unreadable
from lake_pipeline.schemas import ListOf, StructOf, Type

_KINDS = (
    (pat.is_boolean, "boolean"),
    (pat.is_integer, "int"),
    (pat.is_floating, "float"),
    (lambda type_: pat.is_string(type_) or pat.is_large_string(type_) or pat.is_string_view(type_), "string"),
    (lambda type_: pat.is_binary(type_) or pat.is_large_binary(type_) or pat.is_binary_view(type_), "binary"),
    (pat.is_fixed_size_binary, "binary"),
    (pat.is_timestamp, "timestamp"),
    (pat.is_date, "date"),
    (pat.is_time, "time"),
    (pat.is_map, "any"),
    (pat.is_struct, "object"),
)


def is_list(type_: pa.DataType) -> bool:
    return bool(pat.is_list(type_) or pat.is_large_list(type_) or pat.is_fixed_size_list(type_))


def kind_of(type_: pa.DataType) -> str | None:
    """The kind (see `Node`) of a type's values; None for the type that has only null.

    Raises:
        Unreadable: a type that no column of a table can have.
    """
    if pat.is_null(type_):
        return None
    if pat.is_dictionary(type_):
        return kind_of(type_.value_type)
    if pat.is_decimal(type_):
        return f"decimal({type_.precision}, {type_.scale})" if type_.precision <= 38 else "any"
    if is_list(type_):
        return "array"
    for is_kind, kind in _KINDS:
        if is_kind(type_):
            return kind
    raise Unreadable(f"the type {type_} is not supported")


def observe_columns(root: Node, fields: Iterable[pa.Field], where: str, lens: Lens) -> None:
    """Add a file's columns, or those inside an object, to what was seen.

    Raises:
        Unreadable: a type that is not supported, or a name that no column can have.
    """
    _observe(root, list(fields), where, lens, ())


def _observe(node: Node, fields: list[pa.Field], where: str, lens: Lens, path: tuple[str, ...]) -> None:
    names = {field.name: None for field in fields}
    if len(names) < len(fields):
        twice = next(field.name for index, field in enumerate(fields) if field.name in [f.name for f in fields[:index]])
        raise Unreadable(f"two columns are named {'.'.join((*path, twice))!r}")
    if any("\0" in name for name in names):
        raise Unreadable("a column's name holds a NUL, which no column name can")
    node.seen += 1
    node.note_order(names)
    for field in fields:
        child = node.children.setdefault(field.name, Node())
        child.present += 1
        _observe_type(child, field.type, where, lens, (*path, field.name))


def _observe_type(node: Node, type_: pa.DataType, where: str, lens: Lens, path: tuple[str, ...]) -> None:
    kind = _column_kind(type_, lens, path)
    if kind is None:
        return
    node.examples.setdefault(kind, where)
    if kind == "object":
        _observe(node, list(type_), where, lens, path)
    elif kind == "array":
        node.element = node.element or Node()
        _observe_type(node.element, type_.value_type, where, lens, (*path, ELEMENT))


def _column_kind(type_: pa.DataType, lens: Lens, path: tuple[str, ...]) -> str | None:
    kind = kind_of(type_)
    if path in lens.opaque:
        return kind and "any"
    if kind == "object":
        return "object" if type_.num_fields and lens.kind({}, path) == "object" else "any"
    if kind == "array":
        # JSON text inside a list would be a third notation: such a list is JSON text as a whole.
        kept = lens.kind([], path) == "array" and _has_types(type_.value_type, lens, (*path, ELEMENT))
        return "array" if kept else "any"
    return kind


def _has_types(type_: pa.DataType, lens: Lens, path: tuple[str, ...]) -> bool:
    """Whether everything inside a list has a type other than JSON text."""
    kind = _column_kind(type_, lens, path)
    if kind == "object":
        names = {field.name.lower() for field in type_}
        apart = len(names) == type_.num_fields and "" not in names
        return apart and all(_has_types(field.type, lens, (*path, field.name)) for field in type_)
    return kind not in (None, "any")


def castable(source: pa.DataType, type_: Type) -> bool:
    """Whether values of a Parquet type may fit a column's type; whether one does is for `fitting.fit`."""
    match type_:
        case ListOf(element):
            return is_list(source) and castable(source.value_type, element)
        case StructOf(fields):
            types = dict(fields)
            return (
                bool(pat.is_struct(source))
                and len({field.name for field in source}) == source.num_fields
                and all(field.name in types and castable(field.type, types[field.name]) for field in source)
            )
        case "json" | "text":
            return False  # inside a list or an object: no cast makes JSON text
        case _:
            kind = kind_of(source)
            return kind is None or admits(type_, kind)
