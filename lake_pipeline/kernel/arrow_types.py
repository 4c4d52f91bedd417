"""Columns' types as Arrow and the Parquet files have them."""

from __future__ import annotations

import pyarrow as pa

from lake_pipeline.schemas import ListOf, StructOf, Type, decimal_of

_ARROW_TYPES = {
    "string": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", "UTC"),
    "json": pa.string(),
    "text": pa.string(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "binary": pa.binary(),
}


def arrow_type(type_: Type) -> pa.DataType:
    """A column's type as the Parquet files have it; pure."""
    match type_:
        case ListOf(element):
            return pa.list_(arrow_type(element))
        case StructOf(fields):
            return pa.struct([(name, arrow_type(inner)) for name, inner in fields])
        case _:
            digits = decimal_of(type_)
            return pa.decimal128(*digits) if digits else _ARROW_TYPES[type_]
