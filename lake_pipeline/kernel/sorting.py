"""Plain records told from others, on their way to DuckDB."""

from __future__ import annotations

from collections.abc import Container, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake_pipeline.dataset import Source
from lake_pipeline.kernel import shape
from lake_pipeline.kernel.groups import Group, group_bytes, grouped
from lake_pipeline.kernel.matching import Mask, ahead, matched
from lake_pipeline.kernel.misfits import Misfits, Parted, parted
from lake_pipeline.kernel.records import Block
from lake_pipeline.kernel.segments import Pattern
from lake_pipeline.kernel.source import RawFile
from lake_pipeline.schemas import Path


@dataclass(frozen=True)
class Sorted:
    """A group's texts, which of them are `plain`, so that DuckDB can read them, and others that were `parted`."""

    texts: pa.StringArray
    plain: Mask
    parted: Parted | None = None


class Sorting(Protocol):
    """Where a stream's records come from."""

    def sort(self, files: list[RawFile], pool: Executor, depth: int) -> Iterator[tuple[Group, Sorted]]:
        """The files' records in groups."""


@dataclass(frozen=True)
class SecondPass:
    """Files whose shape is known.

    `pattern` is of plain records; `quoted` of those whose numbers were put between quotes, None where not every column
    is text; `misfits` are values of other records. `plain_blocks`: (file id, block number) of blocks that are known to
    match the pattern, so need no second look. `careful` has DuckDB itself check every plain record first: needed only
    where one matched the expression and yet is no JSON.
    """

    source: Source
    explode: Path
    pattern: Pattern | None
    quoted: Pattern | None
    misfits: Misfits | None
    plain_blocks: Container[tuple[int, int]] = frozenset()
    careful: bool = False

    def sort(self, files: list[RawFile], pool: Executor, depth: int) -> Iterator[tuple[Group, Sorted]]:
        groups = grouped(files, self.source, self.explode, lambda: group_bytes(self.pattern))
        for group, sorted_ in ahead(pool, self._sort, groups, depth):
            for _, error in group.ended:
                if error:
                    raise error
            yield group, sorted_

    def _sort(self, group: Group) -> Sorted:
        if all((piece.file.id, piece.number) in self.plain_blocks for piece in group.pieces):
            sorted_ = Sorted(group.block.texts, np.ones(len(group), bool))
        else:
            sorted_ = sort(group, self.pattern, self.quoted, None if self.careful else self.misfits)
        return Sorted(sorted_.texts, _checked(sorted_.texts, sorted_.plain)) if self.careful else sorted_


def sort(
    group: Group,
    pattern: Pattern | None,
    quoted: Pattern | None,
    misfits: Misfits | None,
    known: Mask | None = None,
) -> Sorted:
    """A group's records; `known`: those that match the pattern, where that is known."""
    mask = matched(group.block, pattern)[1] if known is None else known
    if mask.all():
        return Sorted(group.block.texts, mask)
    if quoted:
        return Sorted(*_with_quoted(group.block, mask, quoted))
    return Sorted(group.block.texts, mask, parted(group.block, np.flatnonzero(~mask), misfits))


def _with_quoted(block: Block, mask: Mask, pattern: Pattern) -> tuple[pa.StringArray, Mask]:
    """The texts, those whose numbers had to be quoted so, and which of them are plain now."""
    rest = np.flatnonzero(~mask)
    try:
        spelled = shape.quoted(block.texts.take(pa.array(rest)))
    except pa.ArrowInvalid:
        return block.texts, mask  # not UTF-8: every record takes the exact path
    found = matched(Block(spelled, block.lines[rest]), pattern)[1]
    mask = mask.copy()
    mask[rest] = found
    places = np.zeros(len(block), bool)
    places[rest[found]] = True
    return pc.replace_with_mask(block.texts, pa.array(places), spelled.filter(pa.array(found))), mask


def _checked(texts: pa.StringArray, mask: Mask) -> Mask:
    """Those plain texts that DuckDB itself takes for JSON."""
    if not mask.any():
        return mask
    plain = pa.table({"text": texts.filter(pa.array(mask))})  # noqa: F841 - DuckDB reads it by name
    with duckdb.connect() as connection:
        valid = connection.execute("SELECT json_valid(text) AS valid FROM plain").fetchnumpy()["valid"]
    mask = mask.copy()
    mask[np.flatnonzero(mask)] = valid
    return mask
