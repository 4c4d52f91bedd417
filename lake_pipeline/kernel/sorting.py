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
from lake_pipeline.kernel.records import Block
from lake_pipeline.kernel.segments import Pattern
from lake_pipeline.kernel.source import RawFile
from lake_pipeline.schemas import Path


class Sorting(Protocol):
    """Where a stream's records come from."""

    def sort(self, files: list[RawFile], pool: Executor, depth: int) -> Iterator[tuple[Group, pa.StringArray, Mask]]:
        """The files' records in groups, with texts that DuckDB can read where the mask says that one is plain."""


@dataclass(frozen=True)
class SecondPass:
    """Files whose shape is known.

    `pattern` is of plain records; `quoted` of those whose numbers were put between quotes, None where not every column
    is text. `plain_blocks`: (file id, block number) of blocks that are known to match the pattern, so need no second
    look. `careful` has DuckDB itself check every plain record first: needed only where one matched the expression and
    yet is no JSON.
    """

    source: Source
    explode: Path
    pattern: Pattern | None
    quoted: Pattern | None
    plain_blocks: Container[tuple[int, int]] = frozenset()
    careful: bool = False

    def sort(self, files: list[RawFile], pool: Executor, depth: int) -> Iterator[tuple[Group, pa.StringArray, Mask]]:
        groups = grouped(files, self.source, self.explode, lambda: group_bytes(self.pattern))
        for group, (texts, mask) in ahead(pool, self._sort, groups, depth):
            for _, error in group.ended:
                if error:
                    raise error
            yield group, texts, mask

    def _sort(self, group: Group) -> tuple[pa.StringArray, Mask]:
        if all((piece.file.id, piece.number) in self.plain_blocks for piece in group.pieces):
            texts, mask = group.block.texts, np.ones(len(group), bool)
        else:
            texts, mask = sort(group, self.pattern, self.quoted)
        return (texts, _checked(texts, mask)) if self.careful else (texts, mask)


def sort(
    group: Group, pattern: Pattern | None, quoted: Pattern | None, known: Mask | None = None
) -> tuple[pa.StringArray, Mask]:
    """A group's texts as DuckDB can read them, and which of them these are; `known` to match the pattern."""
    mask = matched(group.block, pattern)[1] if known is None else known
    if quoted and not mask.all():
        return _with_quoted(group.block, mask, quoted)
    return group.block.texts, mask


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
