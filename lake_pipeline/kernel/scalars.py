"""One Arrow value as JSON text, nothing rounded: what is rescued, and columns of JSON text.

The same rules as for JSON lines (json_lines.py); docs/types.md states them.
"""

from __future__ import annotations

import base64
import json
import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.types as pat

from lake_pipeline.kernel.parquet_types import is_list

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def as_json(value: pa.Scalar[Any]) -> str:
    """The value as JSON text.

    A string that is not UTF-8 is `{"base64": …}`; a date or timestamp outside of the years 1 to 9999 is its number
    since 1970, in the unit of its type.
    """
    type_: Any = value.type
    held: Any = value
    if not value.is_valid:
        return "null"
    if pat.is_dictionary(type_):
        return as_json(held.value)
    if pat.is_floating(type_):
        return _float(float(held.as_py()))
    if pat.is_decimal(type_):
        return format(held.as_py(), "f")
    if pat.is_date(type_) or pat.is_timestamp(type_) or pat.is_time(type_):
        return _moment(type_, held.value)
    if pat.is_map(type_) or is_list(type_):
        return f"[{','.join(map(as_json, held.values))}]"
    if pat.is_struct(type_):
        members = (f"{_text(field.name)}:{as_json(held[index])}" for index, field in enumerate(type_))
        return "{" + ",".join(members) + "}"
    if pat.is_boolean(type_) or pat.is_integer(type_):
        return json.dumps(held.as_py())
    data = held.as_buffer().to_pybytes()
    try:
        if pat.is_string(type_) or pat.is_large_string(type_) or pat.is_string_view(type_):
            return _text(data.decode())
    except UnicodeDecodeError:
        return f'{{"base64":{_base64(data)}}}'
    return _base64(data)


def as_text(value: pa.Scalar[Any]) -> str:
    """What a text column holds: a string as it is, else JSON text."""
    text = as_json(value)
    return str(json.loads(text)) if text.startswith('"') else text


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _base64(data: bytes) -> str:
    return f'"{base64.b64encode(data).decode()}"'


def _float(number: float) -> str:
    if math.isfinite(number):
        return repr(number)
    return '"NaN"' if math.isnan(number) else '"Infinity"' if number > 0 else '"-Infinity"'


def _moment(type_: Any, value: int) -> str:
    try:
        if pat.is_date32(type_):
            return f'"{date(1970, 1, 1) + timedelta(days=value)}"'
        per_second = _PER_SECOND["ms" if pat.is_date64(type_) else type_.unit]
        seconds, fraction = divmod(value, per_second)
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return str(value)
    nanoseconds = fraction * (10**9 // per_second)
    digits = f".{nanoseconds:09}" if nanoseconds % 1000 else f".{nanoseconds // 1000:06}" if nanoseconds else ""
    if pat.is_time(type_):
        return f'"{moment:%H:%M:%S}{digits}"'
    return f'"{moment.isoformat()[:19]}{digits}Z"'
