"""JSON lines out: a row's line as an expression of DuckDB, so that no value passes through Python.

What each type becomes stands in docs/types.md; json_reading.py reads it back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from lake_pipeline.kernel.quoting import identifier, literal
from lake_pipeline.schemas import Column, ListOf, StructOf, Type, decimal_of

SUFFIX = ".json"
_LINES = 2**14
_COUNT_BYTES = 2**20


def write_lines(connection: duckdb.DuckDBPyConnection, rows: str, columns: Iterable[Column], target: Path) -> int:
    """Write a query's rows as JSON lines, in their order; how many they were."""
    line = line_sql([(column.name, column.type) for column in columns])
    lines = connection.sql(f"SELECT {line} FROM ({rows})")
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with target.open("wb") as file:
        for batch in lines.to_arrow_reader(_LINES):
            # Each text ends in a newline, so that the column's bytes are the file's.
            texts = batch.column(0).cast(pa.string())
            _, offsets, data = texts.buffers()
            if len(texts) and offsets is not None and data is not None:
                places = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
                file.write(memoryview(data)[places[0] : places[-1]])
            written += len(texts)
    return written


def count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_COUNT_BYTES), b""))


def line_sql(columns: list[tuple[str, Type]]) -> str:
    """The expression of a row's line. Every column is there, NULL as null; `_rescued` only where it holds something."""
    members = [f"{_key(name)} || {_or_null(identifier(name), type_)}" for name, type_ in columns]
    joined = " || ',' || ".join(members)
    comma = "," if columns else ""
    rescued = f"coalesce({literal(comma)} || {_key('_rescued')} || to_json(_rescued)::VARCHAR, '')"
    return f"'{{' || {f'{joined} || ' if joined else ''}{rescued} || '}}' || chr(10)"


def _key(name: str) -> str:
    return literal(json.dumps(name, ensure_ascii=False) + ":")


def _or_null(value: str, type_: Type, depth: int = 0) -> str:
    return f"coalesce({_json(value, type_, depth)}, 'null')"


def _json(value: str, type_: Type, depth: int) -> str:
    """The expression of a value's JSON text, NULL where the value is."""
    match type_:
        case ListOf(element):
            item = identifier(f"lake: item {depth}")
            items = f"list_transform({value}, lambda {item}: {_or_null(item, element, depth + 1)})"
            return f"'[' || array_to_string({items}, ',') || ']'"
        case StructOf(fields):
            members = " || ',' || ".join(
                f"{_key(name)} || {_or_null(f'{value}.{identifier(name)}', inner, depth)}" for name, inner in fields
            )
            return f"CASE WHEN {value} IS NOT NULL THEN '{{' || {members} || '}}' END"
        case "double":
            return (
                f"CASE WHEN isfinite({value}) THEN CAST({value} AS VARCHAR) WHEN isnan({value}) THEN '\"NaN\"'"
                f" WHEN {value} > 0 THEN '\"Infinity\"' WHEN {value} < 0 THEN '\"-Infinity\"' END"
            )
        case "timestamp":
            return _moment(f"make_timestamp(epoch_us({value}))", "%Y-%m-%dT%H:%M:%S", "Z")
        case "time":
            return _moment(f"(DATE '2000-01-01' + {value})", "%H:%M:%S", "")
        case "date":
            return f"strftime({value}, '\"%Y-%m-%d\"')"
        case "binary":
            return f"'\"' || to_base64({value}) || '\"'"
        case "bigint" | "boolean":
            return f"CAST({value} AS VARCHAR)"
        case _ if decimal_of(type_):
            # DuckDB writes decimal(2, 2) as .25, which is no JSON.
            return f"regexp_replace(CAST({value} AS VARCHAR), '^(-?)[.]', '\\1' || '0.')"
        case _:
            return f"to_json({value})::VARCHAR"


def _moment(value: str, form: str, zone: str) -> str:
    """Six digits of a second's fraction, or none where it has none."""
    whole, fraction = literal(f'"{form}{zone}"'), literal(f'"{form}.%f{zone}"')
    written = f"THEN strftime({value}, {whole}) ELSE strftime({value}, {fraction})"
    return f"CASE WHEN epoch_us({value}) % 1000000 = 0 {written} END"
