"""JSON lines read back: the SQL that gives every value the type that it has in the schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from lake_pipeline.kernel.quoting import identifier, literal
from lake_pipeline.schemas import Column, ListOf, StructOf, Type, decimal_of, leaves

# DuckDB reads a JSON number as a double, which tells decimals of this many digits apart and no more.
_DOUBLE_DIGITS = 15
# A raw file's name may hold what DuckDB takes for a pattern.
_GLOB = re.compile(r"[*?\[]")
_LITERALLY = r"[\g<0>]"
_SQL_TYPES = {
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
    "date": "DATE",
    "time": "TIME",
}


def patterns(files: Iterable[str]) -> list[str]:
    """The files as patterns that match just them, which is how DuckDB takes them and asks whether it may."""
    return [_GLOB.sub(_LITERALLY, path) for path in files]


def read_sql(columns: Iterable[Column], files: Mapping[str, str]) -> str:
    """A query of the rows of JSON-lines files, typed; `files` maps each to its raw file's key."""
    typed = [(column.name, column.type) for column in columns] + [("_rescued", "string")]
    options = f"[{', '.join(map(literal, patterns(files)))}], filename = 'lake: file'"
    if any(_is_wide(type_) for _, type_ in typed):
        # Numbers between quotes are texts, which DuckDB casts digit by digit.
        spec = literal(json.dumps({name: _transform(type_) for name, type_ in typed}, ensure_ascii=False))
        read = f"read_ndjson_objects({options})"
        rows = f'SELECT json_transform({_QUOTED_NUMBERS}, {spec}) AS "lake: row", "lake: file" FROM {read}'
        values = [(f'"lake: row".{identifier(name)}', name, type_) for name, type_ in typed]
    else:
        spec = ", ".join(f"{literal(name)}: {literal(_sql_type(type_))}" for name, type_ in typed)
        rows = f"SELECT * FROM read_json({options}, format = 'newline_delimited', columns = {{{spec}}})"
        values = [(identifier(name), name, type_) for name, type_ in typed]
    sources = ", ".join(f"{literal(path)}: {literal(key)}" for path, key in files.items())
    selected = [f"{_decoded(value, type_)} AS {identifier(name)}" for value, name, type_ in values]
    return f'SELECT {", ".join(selected)}, MAP {{{sources}}}["lake: file"] AS _source_file FROM ({rows})'


# Every number of a line between quotes. Raw control characters cannot be in JSON, so that they may stand for quotes
# until the strings are past.
_MARKED = r"""regexp_replace(json, '("(?:[^"\\]|\\.)*")|(-?[0-9][0-9.eE+-]*)', '\1' || chr(1) || '\2' || chr(2), 'g')"""
_QUOTED_NUMBERS = f"""replace(replace(replace({_MARKED}, chr(1) || chr(2), ''), chr(1), '"'), chr(2), '"')"""


def _is_wide(type_: Type) -> bool:
    return any(digits[0] > _DOUBLE_DIGITS for leaf in leaves(type_) if (digits := decimal_of(leaf)))


def _sql_type(type_: Type) -> str:
    match type_:
        case ListOf(element):
            return f"{_sql_type(element)}[]"
        case StructOf(fields):
            return f"STRUCT({', '.join(f'{identifier(name)} {_sql_type(inner)}' for name, inner in fields)})"
        case _:
            return type_.upper() if decimal_of(type_) else _SQL_TYPES.get(type_, "VARCHAR")


def _transform(type_: Type) -> object:
    match type_:
        case ListOf(element):
            return [_transform(element)]
        case StructOf(fields):
            return {name: _transform(inner) for name, inner in fields}
        case _:
            return _sql_type(type_)


def _decoded(value: str, type_: Type, depth: int = 0) -> str:
    """The value with base64 undone, wherever in it binary stands."""
    match type_:
        case "binary":
            return f"from_base64({value})"
        case ListOf(element):
            item = identifier(f"lake: item {depth}")
            inner = _decoded(item, element, depth + 1)
            return value if inner == item else f"list_transform({value}, lambda {item}: {inner})"
        case StructOf(fields):
            decoded = [(name, _decoded(f"{value}.{identifier(name)}", inner, depth)) for name, inner in fields]
            if all(inner == f"{value}.{identifier(name)}" for name, inner in decoded):
                return value
            packed = ", ".join(f"{literal(name)}: {inner}" for name, inner in decoded)
            return f"CASE WHEN {value} IS NOT NULL THEN {{{packed}}} END"
        case _:
            return value
