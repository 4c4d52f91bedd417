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
from lake_pipeline.kernel.segments import Pattern, runs, segments

Mask: TypeAlias = npt.NDArray[np.bool_]


def matched(block: Block, pattern: Pattern | None) -> tuple[Pattern | None, Mask]:
    """The pattern, and for each record whether it is of that shape; one that is not UTF-8 is of none."""
    mask = np.zeros(len(block), bool)
    if pattern is None or not len(block):
        return pattern, mask
    wrong = list(not_utf8(block.texts))
    if not wrong:
        return pattern, _plain(block.texts, pattern)
    mask[:] = True
    mask[wrong] = False
    mask[mask] = _plain(block.texts.filter(pa.array(mask)), pattern)
    return pattern, mask


def _plain(texts: pa.StringArray, pattern: Pattern) -> Mask:
    mask: Mask = np.zeros(len(texts), bool)
    if pattern.parts:
        mask = ~mask
        for segment, (_, expression) in zip(segments(texts, pattern), pattern.parts, strict=True):
            mask &= _found(segment, expression)
    elif pattern.run:
        joined, counts = runs(texts)
        mask = np.repeat(_found(joined, pattern.run), counts)
    if not mask.all():
        # What they do not match may be plain all the same: a key stood inside of a value, or a neighbour is not plain.
        mask[~mask] = _found(texts.filter(pa.array(~mask)), pattern)
    return mask


def _found(texts: pa.StringArray, expression: str) -> Mask:
    try:
        found = pc.match_substring_regex(texts, expression)
    except pa.ArrowInvalid:
        return np.zeros(len(texts), bool)  # an expression beyond RE2's memory: every record is looked at
    return np.asarray(found.to_numpy(zero_copy_only=False), bool)


def not_utf8(texts: pa.StringArray, start: int = 0) -> Iterator[int]:
    """Places of the texts that are not UTF-8, by halving: mostly all of them are."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        if len(texts) == 1:
            yield start
            return
        half = len(texts) // 2
        yield from not_utf8(texts.slice(0, half), start)
        yield from not_utf8(texts.slice(half), start + half)


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
