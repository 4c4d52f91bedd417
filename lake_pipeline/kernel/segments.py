"""Record texts cut as RE2 is quick to match them: short ones several at a time, long ones in segments.

Each text that is matched costs as much as a hundred bytes. And where an expression needs more states than RE2's memory
holds (measured: with 134 columns not, with 200 it does) it falls back to a search ten times slower.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

# About 60 columns; parts of twice this length are as fast, of three times not.
PART_CHARS = 16_000
# A run with a record that is not plain is matched again, one record at a time.
RUN = 32


class Pattern(str):
    """An expression for whole records.

    `run` is for any number of them, each but the last with line ends after it; None where records are to be matched one
    at a time. `parts` are the same expression cut where it is long: (the key, between quotes, that the part begins
    with, none for the first; the part's expression from ^ to $).
    """

    run: str | None
    parts: tuple[tuple[bytes, str], ...]

    def __new__(cls, expression: str, run: str | None = None, parts: tuple[tuple[bytes, str], ...] = ()) -> Pattern:
        self = super().__new__(cls, expression)
        self.run = run
        self.parts = parts
        return self


def runs(texts: pa.StringArray) -> tuple[pa.StringArray, npt.NDArray[np.int64]]:
    """The texts with each `RUN` neighbours as one, and how many each of those is made of."""
    starts = np.arange(0, len(texts), RUN)
    bounds = np.append(_offsets(texts)[starts], _offsets(texts)[-1])
    joined = pa.StringArray.from_buffers(len(starts), pa.py_buffer(bounds), _buffer(texts, 2))
    return joined, np.diff(np.append(starts, len(texts)))


def segments(texts: pa.StringArray, pattern: Pattern) -> Iterator[pa.StringArray]:
    """The texts cut in as many segments as the pattern has parts: at the first place where each one's key stands.

    That may be inside of a value. Then a segment does not match its part, for where all do, the whole text is made of
    one text of each part's language.
    """
    keys = [key for key, _ in pattern.parts[1:]]
    offsets, data = _offsets(texts), _buffer(texts, 2)
    cuts: list[int] = []
    for start, end in pairwise(offsets.tolist()):
        text = data[start:end].to_pybytes()
        place = 0
        cuts.append(start)
        for key in keys:
            found = text.find(key, place)
            place = len(text) if found < 0 else found
            cuts.append(start + place)
    bounds = np.array([*cuts, offsets[-1]], np.int32)
    cut = pa.StringArray.from_buffers(len(cuts), pa.py_buffer(bounds), data)
    for number in range(len(keys) + 1):
        yield cut.take(pa.array(np.arange(number, len(cuts), len(keys) + 1)))


def _offsets(texts: pa.StringArray) -> npt.NDArray[np.int32]:
    return np.frombuffer(_buffer(texts, 1), np.int32)[texts.offset : texts.offset + len(texts) + 1]


def _buffer(texts: pa.StringArray, number: int) -> Any:
    return texts.buffers()[number]
