"""The reference reading of one record: Python's json with number texts kept, and nothing guessed.

What the fast path (shape.py) does must equal what this module says.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NoReturn, TypeAlias
from urllib.parse import quote

JsonObject: TypeAlias = dict[str, Any]

_INTEGER = re.compile(r"-?\d+")
_TIMESTAMP = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2})?)(?:\.\d{1,6})?(?:Z|[+-](?:0\d|1[0-4]):?[0-5]\d)?", re.ASCII
)
_UNUSABLE_IN_KEYS = re.compile("[\x00\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Possessive, for what could be tried again is remembered: a long string would take a hundred times its size.
_BRACKETS = re.compile(r'[\[{]|[\]}]|"(?:[^"\\]++|\\.)*+"', re.DOTALL)
# What a record over the limit is replaced by when it is cut off; JSON text begins with no NUL.
_CUT = re.compile(rb"\x00(longer than source\.max_record_bytes, [\d,]+)\x00(.*)", re.DOTALL)
_CUT_BYTES = 1024
# A double holds 17 significant digits (IEEE 754 binary64); more would be dropped without a word.
MAX_FLOAT_DIGITS = 17
MAX_EXACT_INT = 2**53
_NORMAL = sys.float_info.min
_INT64 = range(-(2**63), 2**63)
# Well below the depth at which Python's own stack ends, wherever the caller stands on it.
MAX_DEPTH = 200
# A folder is named key=value, percent-encoded, and file systems end a name at 255 bytes.
MAX_LABEL_BYTES = 192


class BadRecord(ValueError):
    """The record cannot be read; the message says why."""


class Number(str):
    """A JSON number as it was written."""

    __slots__ = ()

    @property
    def is_integer(self) -> bool:
        return _INTEGER.fullmatch(self) is not None

    @property
    def kind(self) -> str:
        """int (up to 15 digits), long (to 64 bits), huge (a larger integer) or float."""
        if not self.is_integer:
            return "float"
        if len(self) <= 15:
            return "int"
        return "long" if len(self) <= 20 and int(self) in _INT64 else "huge"


class Duplicated(dict[str, Any]):
    """An object with a duplicate key; `pairs` are all of its members."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs

    @property
    def key(self) -> str:
        """The first key that comes twice."""
        seen: set[str] = set()
        return next(key for key, _ in self.pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    members = dict(pairs)
    if _UNUSABLE_IN_KEYS.search("".join(members)):
        raise BadRecord("a key holds a NUL or half a surrogate pair, which no column name can")
    return members if len(members) == len(pairs) else Duplicated(pairs)


def refuse_constant(word: str) -> NoReturn:
    """For Python's json, which takes NaN and Infinity.

    Raises:
        BadRecord: always.
    """
    raise BadRecord(f"{word} is not a JSON value")


_DECODER = json.JSONDecoder(
    parse_int=Number, parse_float=Number, parse_constant=refuse_constant, object_pairs_hook=_object
)


def cut_off(text: bytes, limit: int) -> bytes:
    """What stands for a record of more than `limit` bytes: why it cannot be read, and how it begins."""
    return b"\0longer than source.max_record_bytes, %b\0%b" % (f"{limit:,}".encode(), text[:_CUT_BYTES])


def beginning(text: bytes) -> bytes:
    """The record's text, or as much of it as is there where it was cut off."""
    found = _CUT.fullmatch(text)
    return found[2] if found else text


def parse(text: bytes) -> JsonObject:
    """The record's object, numbers as `Number`.

    Raises:
        BadRecord: it is too long, not UTF-8, not JSON, nested deeper than `MAX_DEPTH`, or not an object.
    """
    if found := _CUT.fullmatch(text):
        raise BadRecord(f"{found[1].decode()}; its first {_CUT_BYTES:,} bytes are kept here, all of it in the raw file")
    try:
        decoded = text.decode("utf-8")
        if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _depth(decoded) > MAX_DEPTH:
            raise BadRecord(f"nested deeper than {MAX_DEPTH} levels")
        value = _DECODER.decode(decoded)
    except UnicodeDecodeError as error:
        raise BadRecord(f"not UTF-8: byte 0x{text[error.start]:02x} at {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise BadRecord(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    if not isinstance(value, dict):
        raise BadRecord(f"a record must be an object, and this is {_describe(value)}")
    return value


def _depth(text: str) -> int:
    """How deep the text's brackets go, those inside strings apart."""
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        if match[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in "]}":
            depth -= 1
    return deepest


def _describe(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case Number():
            return "a number"
        case str():
            return "a string"
        case _:
            return "an array"


def dumps(value: Any) -> str:
    """Compact JSON of a parsed value, numbers as they were written, duplicate keys kept."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Number():
            return str(value)
        case str():
            return json.dumps(value, ensure_ascii=_SURROGATE.search(value) is not None)
        case list():
            return f"[{','.join(map(dumps, value))}]"
        case _:
            pairs: Iterable[tuple[str, Any]] = value.pairs if isinstance(value, Duplicated) else value.items()
            return "{" + ",".join(f"{dumps(key)}:{dumps(item)}" for key, item in pairs) + "}"


def as_text(value: Any) -> str | None:
    """What a text column holds: a string as it is, a number as it was written, else compact JSON; null is null."""
    if value is None:
        return None
    return str(value) if isinstance(value, str) else dumps(value)


def first_duplicate(value: Any) -> str | None:
    """A key that comes twice in this object or one below it."""
    if isinstance(value, Duplicated):
        return value.key
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((key for key in map(first_duplicate, inner) if key is not None), None)


def is_text(value: str) -> bool:
    """Whether the string can be written as UTF-8."""
    return _SURROGATE.search(value) is None


def is_timestamp(value: str) -> bool:
    """An ISO 8601 date and time that exists, to the microsecond, with or without a zone."""
    match = _TIMESTAMP.fullmatch(value)
    if not match:
        return False
    try:
        datetime.fromisoformat(f"{match[1]}T{match[2]}")
    except ValueError:
        return False
    return "0001-01-02" <= match[1] <= "9999-12-30"  # a zone must not push it out of the calendar


def is_label(value: str) -> bool:
    """Whether the string can name a folder: not too long, and not empty, or Spark could not read any of the table."""
    return 0 < len(quote(value, safe="", errors="replace")) <= MAX_LABEL_BYTES


def is_double(number: Number) -> bool:
    """Whether a double holds the number: an integer exactly, a decimal to all the digits it was written with."""
    if number.is_integer:
        return abs(int(number)) <= MAX_EXACT_INT if len(number) <= 17 else False
    mantissa = re.split("[eE]", number)[0].lstrip("-").replace(".", "").strip("0")
    value = float(number)
    # Below the smallest normal double, digits are lost one by one.
    return len(mantissa) <= MAX_FLOAT_DIGITS and math.isfinite(value) and (abs(value) >= _NORMAL or not mantissa)


def is_bigint(number: Number) -> bool:
    return number.is_integer and len(number) <= 20 and int(number) in _INT64


def is_portable(value: Any) -> bool:
    """Whether DuckDB's JSON writer gives the value back unchanged: numbers to 64 bits, text that is UTF-8."""
    match value:
        case Number():
            return is_bigint(value) or (not value.is_integer and is_double(value))
        case str():
            return is_text(value)
        case list():
            return all(map(is_portable, value))
        case dict():
            pairs = value.pairs if isinstance(value, Duplicated) else value.items()
            return all(is_portable(item) for _, item in pairs)
        case _:
            return True
