"""One row an element: a record whose declared array is exploded becomes one record text for each of its elements."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import msgspec
import numpy as np
import pyarrow as pa

from lake_pipeline.kernel import exact
from lake_pipeline.kernel.exact import BadRecord, Duplicated, JsonObject, Number
from lake_pipeline.kernel.matching import text_of
from lake_pipeline.kernel.records import Block
from lake_pipeline.kernel.source import TooLarge
from lake_pipeline.schemas import Path

# Every element brings its record's other values along, so one large record can become very many bytes.
BLOCK_BYTES = 8 * 2**20
# Where the element goes; JSON text has no NUL.
_PLACE = Number("\0")
_VALID = json.JSONDecoder(parse_constant=exact.refuse_constant)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_S = rb"[ \t\r\n]*"
_OPEN = re.compile(_S + rb"\{")
_KEY = re.compile(_S + rb",?" + _S + rb'"(?:[^"\\]++|\\.)*+"' + _S + b":" + _S)
_CLOSE = re.compile(_S + rb"\}" + _S)


def exploded(blocks: Iterator[Block], path: Path, limit: int) -> Iterator[Block]:
    """The blocks with a text for each element of the array at `path`; as they are where the path is empty.

    In an element's text the element stands in the array's place. An empty array leaves one text, with null there.
    A record without the array, or one that cannot be read, stays as it was written.

    Raises:
        TooLarge: the texts that this adds to a file have more than `limit` bytes.
    """
    return _exploded(blocks, path, limit) if path else blocks


def _exploded(blocks: Iterator[Block], path: Path, limit: int) -> Iterator[Block]:
    grown = 0
    for block in blocks:
        texts: list[bytes] = []
        lines: list[int] = []
        size = added = 0
        for index, line in enumerate(block.lines):
            for number, text in enumerate(elements(text_of(block, index), path)):
                texts.append(text)
                lines.append(int(line))
                size += len(text)
                if number:
                    added += 1
                    grown += len(text)
                    if grown > limit:
                        raise TooLarge(f"flatten.explode adds more than source.max_unpacked_bytes to it, {limit:,}")
                if size >= BLOCK_BYTES:
                    yield _block(texts, lines, added)
                    texts, lines, size, added = [], [], 0, 0
        if texts:
            yield _block(texts, lines, added)


def _block(texts: list[bytes], lines: list[int], added: int) -> Block:
    # A view, for the texts' UTF-8 is not checked yet.
    return Block(pa.array(texts, pa.binary()).view(pa.string()), np.array(lines, np.int64), added)


def elements(text: bytes, path: Path) -> Iterator[bytes]:
    """A record's text for each element of its array, numbers and keys as they were written."""
    cut = _cut(text, path)
    if cut is None:
        yield from slow_elements(text, path)
    else:
        before, parts, after = cut
        for part in parts or [b"null"]:
            yield b"%b%b%b" % (before, part, after)


def _cut(text: bytes, path: Path) -> tuple[bytes, list[bytes], bytes] | None:
    """The text before the array, of each element, and after the array; None where only parsing can tell."""
    # With an escape a key may be one that no column can have; deep nesting makes a record unreadable.
    if b"\\u" in text or text.count(b"[") + text.count(b"{") > exact.MAX_DEPTH:
        return None
    start, end = 0, len(text)
    try:
        _VALID.decode(text.decode())
        for key in path:
            if (found := _member(text[start:end], key)) is None:
                return None
            start, end = start + found[0], start + found[1]
        parts = [bytes(part) for part in _ELEMENTS.decode(text[start:end])]
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None
    return text[:start], parts, text[end:]


def _member(text: bytes, key: str) -> tuple[int, int] | None:
    """Where the key's value stands in an object's text; None where a key comes twice, or it is not there."""
    opened = _OPEN.match(text)
    place, position = None, opened.end() if opened else 0
    for name, value in _MEMBERS.decode(text).items():
        match = _KEY.match(text, position)
        position = match.end() if match else 0
        if not text.startswith(value, position):
            return None
        if name == key:
            place = position, position + len(value)
        position += len(value)
    return place if _CLOSE.fullmatch(text, position) else None


def slow_elements(text: bytes, path: Path) -> Iterator[bytes]:
    """What `elements` says, by parsing: compact texts, for records of any kind."""
    try:
        record = exact.parse(text)
    except BadRecord:
        yield text
        return
    holder = _holder(record, path)
    array = holder.get(path[-1]) if holder else None
    if not holder or not isinstance(array, list):
        yield text
        return
    holder[path[-1]] = _PLACE
    before, after = exact.dumps(record).split(_PLACE)
    for element in array or [None]:
        yield f"{before}{exact.dumps(element)}{after}".encode()


def _holder(record: JsonObject, path: Path) -> JsonObject | None:
    """The object that holds the path's last key; None where there is none, or a duplicate key leaves it open."""
    place: object = record
    for key in path[:-1]:
        if not isinstance(place, dict) or isinstance(place, Duplicated):
            return None
        place = place.get(key)
    return place if isinstance(place, dict) and not isinstance(place, Duplicated) else None
