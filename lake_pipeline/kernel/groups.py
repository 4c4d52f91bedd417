"""Neighbouring blocks of a manifest together, for making an expression ready to match costs as much as a megabyte."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake_pipeline.dataset import Source
from lake_pipeline.kernel.explode import exploded
from lake_pipeline.kernel.records import Block, read_blocks
from lake_pipeline.kernel.source import RawFile, Unreadable
from lake_pipeline.schemas import Path

GROUP_BYTES = 4 * 2**20
# An expression from this length on takes as long to make ready as several megabytes to match. Still larger groups would
# save little: twice as large ones 6 % of a conversion, for 100 MB of memory.
_LONG_CHARS = 2**15
_LONG_GROUP_BYTES = 6 * 2**20


def group_bytes(pattern: str | None) -> int:
    """How large a group that is matched with this expression should be."""
    return _LONG_GROUP_BYTES if len(pattern or "") > _LONG_CHARS else GROUP_BYTES


@dataclass(frozen=True)
class Piece:
    """One block of a file: the file's `number`th, from 0, and how many records it has; see `Block.exploded`."""

    file: RawFile
    number: int
    records: int
    exploded: int


@dataclass(frozen=True)
class Group:
    """The records of `pieces`, in order, as one block.

    `ended`: the files that have no more, and why one could not be read to its end. Of such a file the group that it
    ends in has no records.
    """

    block: Block
    pieces: tuple[Piece, ...]
    ended: tuple[tuple[RawFile, Unreadable | OSError | None], ...]

    def __len__(self) -> int:
        return len(self.block)

    @property
    def owners(self) -> npt.NDArray[np.int32]:
        """For each record the place of its piece."""
        return np.repeat(np.arange(len(self.pieces), dtype=np.int32), [piece.records for piece in self.pieces])

    def without(self, ids: Collection[int]) -> Group:
        """The group without the records of these files."""
        kept = tuple(piece for piece in self.pieces if piece.file.id not in ids)
        mask = np.repeat([piece.file.id not in ids for piece in self.pieces], [piece.records for piece in self.pieces])
        added = sum(piece.exploded for piece in kept)
        return Group(Block(self.block.texts.filter(pa.array(mask)), self.block.lines[mask], added), kept, self.ended)


def grouped(
    files: Iterable[RawFile], source: Source, explode: Path, least: Callable[[], int] = lambda: GROUP_BYTES
) -> Iterator[Group]:
    """The files' blocks, exploded at the path, in groups of at least so many bytes but for the last."""
    held: list[tuple[Piece, Block]] = []
    ended: list[tuple[RawFile, Unreadable | OSError | None]] = []
    size = 0
    for file in files:
        error: Unreadable | OSError | None = None
        try:
            blocks = exploded(read_blocks(file, source), explode, source.max_unpacked_bytes)
            for number, block in enumerate(blocks):
                # Two large blocks never share a group: Arrow's offsets end at 2 GiB.
                if held and size + block.texts.nbytes > 2 * least():
                    yield _group(held, ended)
                    held, ended, size = [], [], 0
                held.append((Piece(file, number, len(block), block.exploded), block))
                size += block.texts.nbytes
                if size >= least():
                    yield _group(held, ended)
                    held, ended, size = [], [], 0
        except (Unreadable, OSError) as failure:
            error = failure
            held = [item for item in held if item[0].file is not file]
        ended.append((file, error))
    if held or ended:
        yield _group(held, ended)


def _group(held: list[tuple[Piece, Block]], ended: list[tuple[RawFile, Unreadable | OSError | None]]) -> Group:
    blocks = [block for _, block in held]
    if len(blocks) == 1:
        block = blocks[0]
    else:
        block = Block(
            pa.concat_arrays([block.texts for block in blocks]) if blocks else pa.array([], pa.string()),
            np.concatenate([np.array([], np.int64), *(block.lines for block in blocks)]),
            sum(block.exploded for block in blocks),
        )
    return Group(block, tuple(piece for piece, _ in held), tuple(ended))
