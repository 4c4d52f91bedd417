"""Arrow values into a column of the table: what fits is cast, and what would change is found and left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from lake_pipeline.kernel.arrow_types import arrow_type
from lake_pipeline.kernel.exact import is_label
from lake_pipeline.kernel.parquet_types import castable, is_list
from lake_pipeline.kernel.scalars import as_json, as_text
from lake_pipeline.schemas import Type, decimal_of

_CALENDAR = {
    "timestamp": (
        pa.scalar(datetime(1, 1, 1, tzinfo=UTC), pa.timestamp("us", "UTC")),
        pa.scalar(datetime.max.replace(tzinfo=UTC), pa.timestamp("us", "UTC")),
    ),
    "date": (pa.scalar(date.min), pa.scalar(date.max)),
}


def fit(values: pa.Array[Any], type_: Type, *, label: bool = False) -> tuple[pa.Array[Any], list[int]]:
    """The values as a column of this type, NULL where one does not fit, and the places of those.

    `label`: the column names folders, so that its text must be short.
    """
    if type_ in ("json", "text"):
        write = as_json if type_ == "json" else as_text
        return pa.array([write(value) if value.is_valid else None for value in values], pa.string()), []
    target = arrow_type(type_)
    if not castable(values.type, type_):
        return pa.nulls(len(values), target), [index for index, value in enumerate(values) if value.is_valid]

    def fits(part: pa.Array[Any]) -> bool:
        try:
            part.validate(full=True)  # text may not be UTF-8
            cast = _cast(part, type_, target)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return False
        return all(map(_in_calendar, _leaves(cast))) and (not label or _are_labels(cast))

    misfits = list(_misfits(values, fits))
    if misfits:
        kept = set(misfits)
        values = values.take(pa.array([None if index in kept else index for index in range(len(values))], pa.int64()))
    return _cast(values, type_, target), misfits


def _cast(values: pa.Array[Any], type_: Type, target: pa.DataType) -> pa.Array[Any]:
    """A cast that is an error where it would change a value."""
    if pat.is_dictionary(values.type):
        values = values.dictionary_decode()
    if decimal_of(type_) and pat.is_integer(values.type):
        values = values.cast(pa.decimal128(38, 0))  # Arrow goes by the integer type's digits, not by the values'
    return values.cast(target, safe=True)


def _misfits(values: pa.Array[Any], fits: Callable[[pa.Array[Any]], bool], start: int = 0) -> Iterator[int]:
    """Places of values that do not fit, by halving: mostly all of them do."""
    if len(values) == 0 or fits(values):
        return
    if len(values) == 1:
        yield start
        return
    half = len(values) // 2
    yield from _misfits(values.slice(0, half), fits, start)
    yield from _misfits(values.slice(half), fits, start + half)


def _leaves(values: pa.Array[Any]) -> Iterator[pa.Array[Any]]:
    if is_list(values.type):
        yield from _leaves(values.flatten())
    elif pat.is_struct(values.type):
        for member in values.flatten():
            yield from _leaves(member)
    else:
        yield values


def _in_calendar(values: pa.Array[Any]) -> bool:
    """Whether every date or timestamp is of the years 1 to 9999."""
    bounds = _CALENDAR.get("timestamp" if pat.is_timestamp(values.type) else "date" if pat.is_date(values.type) else "")
    if bounds is None or values.null_count == len(values):
        return True
    span: Any = pc.min_max(values)
    inside: Any = pc.and_(pc.greater_equal(span["min"], bounds[0]), pc.less_equal(span["max"], bounds[1]))
    return bool(inside.as_py())


def _are_labels(values: pa.Array[Any]) -> bool:
    return not pat.is_string(values.type) or all(is_label(text) for text in pc.unique(values).to_pylist() if text)
