"""What the commands print: tables on a terminal, plain lines in a pipe, JSON for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from functools import cache
from itertools import zip_longest
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lake_pipeline.store import batched

# So many rows are measured and printed at a time: ten million rows of the ledger must not be held in memory.
_PAGE = 1000
# With less room for a column than this, a record is printed as a list of names and values.
_NARROWEST = 10
# What could move the cursor or turn the text round; file names and data are strangers' text.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@cache
def stderr() -> Console:
    """Where progress, notes and errors go."""
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def note(text: str) -> None:
    """Lines for people, out of the way of results."""
    stderr().print("\n".join(map(printable, text.rstrip().split("\n"))))


def say(text: str) -> None:
    """A line of the result."""
    sys.stdout.write(f"{text}\n")


def printable(text: str) -> str:
    """The text with control characters as their escapes."""
    return _UNPRINTABLE.sub(lambda match: repr(match[0])[1:-1], text)


def cell(value: object, null: str = "") -> str:
    """A value as a table shows it, on one line."""
    match value:
        case None:
            return null
        case bool():
            return str(value).lower()
        case datetime():
            return value.isoformat(" ")
        case date() | time():
            return value.isoformat()
        case dict() | list():
            return printable(json_text(value))
        case _:
            return printable(str(value))


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", null: str = "") -> int:
    """Rows as a table on a terminal, as aligned lines in a pipe; without rows, the headers. The number of rows."""
    console = Console(highlight=False, markup=False)
    total = 0
    pages = batched(rows, _PAGE)
    page = next(pages, [])
    if title:
        console.print(Text(title, style="bold") if console.is_terminal else title)
    while True:
        right = [_is_numeric(row[index] for row in page) for index in range(len(headers))]
        cells = [[cell(value, null) for value in row] for row in page]
        if console.is_terminal and console.width // max(len(headers), 1) < _NARROWEST:
            for row in cells:
                _print_grid(console, ["column", "value"], [list(pair) for pair in zip(headers, row, strict=True)])
                console.print()
        elif console.is_terminal:
            _print_grid(console, headers, cells, right)
        else:
            _print_lines([list(headers), *cells] if total == 0 else cells, right)
        total += len(page)
        if not (page := next(pages, [])):
            return total


def _is_numeric(values: Iterable[object]) -> bool:
    kinds = {type(value) for value in values} - {type(None)}
    return bool(kinds) and kinds <= {int, float}


def _print_grid(
    console: Console, headers: Sequence[str], cells: list[list[str]], right: Sequence[bool] = (False, False)
) -> None:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for header, to_the_right in zip(headers, right, strict=True):
        table.add_column(Text(header), justify="right" if to_the_right else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(table)


def _print_lines(lines: list[list[str]], right: list[bool]) -> None:
    widths = [max(map(len, column)) for column in zip_longest(*lines, fillvalue="")]
    for line in lines:
        padded = (
            text.rjust(width) if to_the_right else text.ljust(width)
            for text, width, to_the_right in zip(line, widths, right, strict=True)
        )
        say("  ".join(padded).rstrip())


def json_text(value: Any) -> str:
    """One line of JSON: times in ISO 8601, decimals and what else JSON lacks as strings, NaN as null."""
    return msgspec.json.encode(_with_text_keys(value), enc_hook=str).decode()


def print_json_lines(documents: Iterable[Any]) -> None:
    """One document a line."""
    for document in documents:
        say(json_text(document))


def print_json(document: Any) -> None:
    """One document, indented."""
    say(json.dumps(json.loads(json_text(document)), indent=2, ensure_ascii=False))


def _with_text_keys(value: Any) -> Any:
    """A map's keys may be anything in SQL, and only text in JSON."""
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else cell(key, "null"): _with_text_keys(item) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_with_text_keys(item) for item in value]
    return value


def size_text(size: int) -> str:
    """Bytes for people: `1.5 MiB`."""
    if size < 1024:
        return f"{size} B"
    amount = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        amount /= 1024
        if amount < 1000 or unit == "TiB":
            break
    return f"{amount:.1f} {unit}"


def duration_text(duration: timedelta) -> str:
    """Time for people, in its two largest units: `2 d 3 h`, `45 s`."""
    seconds = max(0, round(duration.total_seconds()))
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    first = next((index for index, (amount, _) in enumerate(parts) if amount), len(parts) - 1)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount) or "0 s"


def time_text(moment: datetime) -> str:
    """A time for people, in the machine's zone: `2026-02-09 14:03:12`."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"
