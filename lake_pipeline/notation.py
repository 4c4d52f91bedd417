"""How sizes, durations, prefixes and names are written in a declaration."""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_BYTES = {
    "": 1,
    "b": 1,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_bytes(value: object) -> object:
    """`4GiB`, `500 MB` or a plain number of bytes, as an int; anything else is left for pydantic to refuse."""
    return bytes_of(value) if isinstance(value, str) else value


def bytes_of(text: str) -> int:
    """The bytes that a size such as `4GiB` stands for.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].lower() not in _BYTES:
        raise ValueError(f"{text!r} is not a size; write a number and B, KiB, MiB, GiB, TiB, KB, MB, GB or TB")
    return int(Fraction(match[1]) * _BYTES[match[2].lower()])  # a float would round large sizes


def parse_duration(value: object) -> object:
    """`15m`, `6h`, `30s`, `2d` or a number of seconds, as a timedelta; anything else is left for pydantic to refuse."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d{1,9})\s*([smhd])\s*", value)
        if not match:
            raise ValueError(f"{value!r} is not a duration; write a number and s, m, h or d, such as 15m")
        return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12:
        return timedelta(seconds=value)
    return value


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError("a name is lower-case letters, digits and underscores, and starts with a letter")
    return value


def _prefix(value: object) -> object:
    """A key prefix: relative, without `..` and control characters, ending in one slash."""
    if not isinstance(value, str):
        return value
    if (
        value.startswith("/")
        or not value.strip("/")
        or any(part in ("", ".", "..") for part in value.strip("/").split("/"))
        or any(letter < " " or letter == "\x7f" for letter in value)
    ):
        raise ValueError(f"{value!r} is not a prefix below the store's root, such as raw-json-data/")
    return value.strip("/") + "/"


# What an editor is told to accept is the text that people write, not only what it becomes.
Size = Annotated[PositiveInt, BeforeValidator(parse_bytes, json_schema_input_type=int | str)]
Duration = Annotated[
    timedelta, Field(ge=timedelta(0)), BeforeValidator(parse_duration, json_schema_input_type=float | str)
]
Prefix = Annotated[str, BeforeValidator(_prefix)]
Name = Annotated[str, AfterValidator(_name)]
