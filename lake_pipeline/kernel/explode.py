"""One row an element: a record whose declared array is exploded becomes one record text for each of its elements."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from lake_pipeline.kernel import exact
from lake_pipeline.kernel.exact import BadRecord, Duplicated, JsonObject, Number
from lake_pipeline.kernel.matching import text_of
from lake_pipeline.kernel.records import Block
from lake_pipeline.schemas import Path

# Every element brings its record's other values along, so one large record can become very many bytes.
BLOCK_BYTES = 8 * 2**20
# Where the element goes; JSON text has no NUL.
_PLACE = Number("\0")


def exploded(blocks: Iterator[Block], path: Path) -> Iterator[Block]:
    """The blocks with a text for each element of the array at `path`; as they are where the path is empty.

    In an element's text the element stands in the array's place. An empty array leaves one text, with null there.
    A record without the array, or one that cannot be read, stays as it was written.
    """
    return (part for block in blocks for part in _exploded(block, path)) if path else blocks


def _exploded(block: Block, path: Path) -> Iterator[Block]:
    texts: list[bytes] = []
    lines: list[int] = []
    size = added = 0
    for index, line in enumerate(block.lines):
        for number, text in enumerate(elements(text_of(block, index), path)):
            texts.append(text)
            lines.append(int(line))
            added += number > 0
            size += len(text)
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
