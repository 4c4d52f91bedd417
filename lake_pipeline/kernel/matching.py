"""Which records of a block are plain: checked many blocks at a time, since RE2 lets go of the interpreter."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake_pipeline.kernel.records import Block

Mask: TypeAlias = npt.NDArray[np.bool_]


def matched(block: Block, pattern: str | None) -> tuple[str | None, Mask]:
    """The pattern, and for each record whether it is of that shape; none is where there is no pattern or the block
    has text that is not UTF-8."""
    if pattern is not None:
        try:
            block.texts.validate(full=True)
            found = pc.match_substring_regex(block.texts, pattern)
            return pattern, np.asarray(found.to_numpy(zero_copy_only=False), bool)
        except pa.ArrowInvalid:
            pass  # bad UTF-8, or an expression beyond RE2's memory: every record takes the exact path
    return pattern, np.zeros(len(block), bool)


def ahead(pool: Executor, work: Callable[[Any], Any], items: Iterable[Any], depth: int) -> Iterator[tuple[Any, Any]]:
    """(item, work(item)) in order, with up to `depth` items being worked on."""
    pending: deque[tuple[Any, Future[Any]]] = deque()
    for item in items:
        pending.append((item, pool.submit(work, item)))
        if len(pending) > depth:
            first, future = pending.popleft()
            yield first, future.result()
    while pending:
        first, future = pending.popleft()
        yield first, future.result()


def text_of(block: Block, index: int) -> bytes:
    """One record's bytes as they stand in the file."""
    buffer = block.texts[index].as_buffer()
    return buffer.to_pybytes() if buffer is not None else b""
