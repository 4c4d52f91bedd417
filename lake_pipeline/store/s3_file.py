"""An object of S3 as a file for reading: readers of Parquet ask for its end, its footer and then for columns."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

# A footer and what lies around it come with one request.
_BLOCK = 2**20


class S3File(io.RawIOBase):
    """`size` bytes that `read_range(start, length)` gives; the block around the last read is kept."""

    def __init__(self, read_range: Callable[[int, int], bytes], size: int) -> None:
        self._read_range = read_range
        self._size = size
        self._position = 0
        self._start = 0
        self._block = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        length = min(len(view), self._size - self._position)
        if length <= 0:
            return 0
        begin = self._position - self._start
        if not 0 <= begin <= len(self._block) - length:
            # The last block ends with the object, so that a look at its end brings the footer too.
            self._start = max(0, min(self._position, self._size - _BLOCK))
            end = min(self._size, max(self._position + length, self._start + _BLOCK))
            self._block = self._read_range(self._start, end - self._start)
            begin = self._position - self._start
        view[:length] = self._block[begin : begin + length]
        self._position += length
        return length
