"""Names and types as Glue and Athena have them; pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

import pyarrow as pa

from lake_pipeline.schemas import ListOf, StructOf, Type, decimal_of

# What Hive writes for a partition key that is NULL; Athena reads it as NULL.
NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
_SCALARS = {
    "string": "string",
    "text": "string",
    "json": "string",
    "bigint": "bigint",
    "double": "double",
    "boolean": "boolean",
    "timestamp": "timestamp",
    "date": "date",
    "binary": "binary",
}
# In JSON lines these are texts, which the SerDe would not read as what they are.
_TEXTS = frozenset({"timestamp", "date", "time", "binary"})
# Glue's own pattern of a column's name, less the comma that its properties are joined with and the double quote.
_COLUMN = re.compile(r'[^\x00-\x1f\x7f,"`\ud800-\udfff\ufffe\uffff]{1,255}')
# A struct's fields stand inside the text of its type, which has no quotes.
_FIELD = re.compile(r"[A-Za-z0-9_]+")


def hive_type(type_: Type) -> str | None:
    """A Parquet column's type, such as `array<struct<seq:bigint>>`.

    None where a struct's field has a name that cannot stand in it, and for a time of day, which Athena does not read.
    """
    return _composed(type_, lambda scalar: _decimal(scalar) or _SCALARS.get(scalar))


def hive_json_type(type_: Type) -> str | None:
    """The type of a column of JSON lines."""
    return _composed(type_, lambda scalar: "string" if scalar in _TEXTS else _decimal(scalar) or _SCALARS.get(scalar))


def _decimal(scalar: str) -> str | None:
    digits = decimal_of(scalar)
    return f"decimal({digits[0]},{digits[1]})" if digits else None


def _composed(type_: Type, scalar: Callable[[str], str | None]) -> str | None:
    match type_:
        case ListOf(element):
            inner = _composed(element, scalar)
            return inner and f"array<{inner}>"
        case StructOf(fields):
            types = [_composed(inner, scalar) for _, inner in fields]
            if not types or None in types or not all(_FIELD.fullmatch(name) for name, _ in fields):
                return None
            named = zip(fields, types, strict=True)
            return f"struct<{','.join(f'{field[0].lower()}:{inner}' for field, inner in named)}>"
        case _:
            return scalar(type_)


def hive_name(name: str) -> str | None:
    """A column's name: Athena knows lower case only. None where Glue has no room for it."""
    lower = name.lower()
    return lower if _COLUMN.fullmatch(lower) else None


def arrow_as_hive(type_: pa.DataType) -> str | None:
    """The Hive type of a Parquet column as pyarrow reads it; None where Athena has none."""
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        inner = arrow_as_hive(type_.value_type)
        return inner and f"array<{inner}>"
    if pa.types.is_map(type_):
        key, item = arrow_as_hive(type_.key_type), arrow_as_hive(type_.item_type)
        return f"map<{key},{item}>" if key and item else None
    if pa.types.is_struct(type_):
        inner_types = [(field.name, arrow_as_hive(field.type)) for field in type_]
        if not all(inner and _FIELD.fullmatch(name) for name, inner in inner_types):
            return None
        return f"struct<{','.join(f'{name.lower()}:{inner}' for name, inner in inner_types)}>"
    if pa.types.is_decimal(type_):
        return f"decimal({type_.precision},{type_.scale})"
    if pa.types.is_timestamp(type_):
        return "timestamp"
    return _ARROW.get(str(type_))


_ARROW = {
    "string": "string",
    "large_string": "string",
    "bool": "boolean",
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "float": "float",
    "double": "double",
    "date32[day]": "date",
    "binary": "binary",
}


def partition_values(folder: str) -> list[str]:
    """The values that a Hive folder such as `year=2026/mode=a%20b` names, in order; none for the empty one."""
    return [unquote(part.partition("=")[2]) for part in folder.split("/")] if folder else []
