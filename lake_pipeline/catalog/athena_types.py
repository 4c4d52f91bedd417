"""Values of an Athena answer, which come as text; pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any


def from_text(text: str | None, type_: str) -> Any:
    """The value of a type that GetQueryResults names; arrays, rows and maps stay as Athena writes them."""
    return None if text is None else _READERS.get(type_, str)(text)


def _timestamp(text: str) -> datetime:
    # Without a zone it is UTC, as all times of the lake are.
    value = datetime.fromisoformat(text.removesuffix(" UTC"))
    return value if value.tzinfo else value.replace(tzinfo=UTC)


_READERS: dict[str, Callable[[str], Any]] = {
    "tinyint": int,
    "smallint": int,
    "integer": int,
    "bigint": int,
    "float": float,
    "real": float,
    "double": float,
    "decimal": Decimal,
    "boolean": lambda text: text == "true",
    "date": date.fromisoformat,
    "timestamp": _timestamp,
    "timestamp with time zone": _timestamp,
}
