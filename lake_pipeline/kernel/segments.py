"""Long records checked a segment at a time, for RE2 falls back to a search ten times slower where an expression needs
more states than its memory holds (measured: from 200 columns on)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

# About 60 columns; parts of twice this length are as fast, of four times not.
PART_CHARS = 16_000


class Pattern(str):
    """An expression for whole records, and the same cut in `parts` where it is long: (the key, between quotes, that
    the part begins with, none for the first; the part's expression from ^ to $)."""

    parts: tuple[tuple[bytes, str], ...]

    def __new__(cls, expression: str, parts: tuple[tuple[bytes, str], ...] = ()) -> Pattern:
        self = super().__new__(cls, expression)
        self.parts = parts
        return self


def segments(texts: pa.StringArray, pattern: Pattern) -> list[pa.StringArray]:
    """The texts cut in as many segments as the pattern has parts: at the first place where each one's key stands.

    That may be inside of a value. Then a segment does not match its part, for where all do, the whole text is made of
    one text of each part's language.
    """
    count, keys = len(texts), [key for key, _ in pattern.parts[1:]]
    offsets = np.frombuffer(_buffer(texts, 1), np.int32)[texts.offset : texts.offset + count + 1]
    data = _buffer(texts, 2).to_pybytes()
    cuts: list[int] = []
    for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        cuts.append(start)
        for key in keys:
            found = data.find(key, start, end)
            start = end if found < 0 else found
            cuts.append(start)
    bounds = np.array([*cuts, offsets[-1]], np.int32)
    cut = pa.StringArray.from_buffers(len(cuts), pa.py_buffer(bounds), texts.buffers()[2])
    return [cut.take(pa.array(np.arange(place, len(cuts), len(keys) + 1))) for place in range(len(keys) + 1)]


def _buffer(texts: pa.StringArray, number: int) -> Any:
    return texts.buffers()[number]
