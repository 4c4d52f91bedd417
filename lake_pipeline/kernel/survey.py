"""The first pass: every record of the manifest is looked at, so that types come from all of it and not a sample.

Records of a shape already seen are recognised by one expression and need no parsing; only the others are parsed,
and what they show widens the expression.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lake_pipeline.dataset import Source
from lake_pipeline.evolution import too_wide
from lake_pipeline.kernel import exact, shape
from lake_pipeline.kernel.explode import exploded
from lake_pipeline.kernel.matching import Mask, ahead, matched, text_of
from lake_pipeline.kernel.observed import Lens, Node, observe
from lake_pipeline.kernel.records import Block, read_blocks
from lake_pipeline.kernel.source import Unreadable

_FIRST_LOOK = 64
# Objects on the way to a column are paths too; a survey of many more paths than columns need not go on.
_PATHS_PER_COLUMN = 4


@dataclass(frozen=True)
class RawFile:
    """One raw file of the manifest, at hand as a local file."""

    id: int
    key: str
    path: Path


@dataclass
class Survey:
    """What the manifest's readable files hold.

    `rows`: records by file id; `exploded`: rows that exploding the array at `explode` adds to them;
    `unreadable`: reason by file id, for files that are to be quarantined whole;
    `vanished`: the same for files that went away; `plain`: (file id, block number) of the blocks whose every record
    matched `pattern`, as it is at the end. With far more paths than `max_columns` nothing more is learnt where
    the schema is `fixed`, and it is an error where they would become columns.
    """

    lens: Lens
    source: Source
    max_columns: int
    fixed: bool
    explode: tuple[str, ...] = ()
    root: Node = field(default_factory=Node)
    rows: dict[int, int] = field(default_factory=dict)
    exploded: dict[int, int] = field(default_factory=dict)
    unreadable: dict[int, str] = field(default_factory=dict)
    vanished: dict[int, str] = field(default_factory=dict)
    pattern: str | None = None
    plain: set[tuple[int, int]] = field(default_factory=set)
    lessons: int = 0  # how often something new was seen

    def look(self, files: list[RawFile], pool: Executor, depth: int) -> None:
        """Read every file once; again from the start where one proved unreadable after it had shown something new.

        Raises:
            SchemaConflict: more paths than any schema of this dataset may have.
        """
        tainted = False
        for file in files:
            before = self.lessons
            try:
                self._look_at(file, pool, depth)
            except (Unreadable, OSError) as error:
                (self.unreadable if isinstance(error, Unreadable) else self.vanished)[file.id] = str(error)
                tainted |= self.lessons != before
        if tainted:
            self.root, self.pattern = Node(), None
            self.plain.clear()
            left_out = self.unreadable | self.vanished
            self.look([file for file in files if file.id not in left_out], pool, depth)

    def _look_at(self, file: RawFile, pool: Executor, depth: int) -> None:
        rows = added = 0
        reasons: list[str] = []
        blocks = read_blocks(file.path, file.key, self.source.format, self.source.records)
        blocks = exploded(blocks, self.explode)
        for number, (block, (pattern, mask)) in enumerate(ahead(pool, self._match, blocks, depth)):
            rows += len(block)
            added += block.exploded
            if pattern != self.pattern and not mask.all():
                pattern, mask = matched(block, self.pattern)  # the expression has widened since
            if not mask.all():
                self._learn(file, block, np.flatnonzero(~mask), reasons)
            elif pattern == self.pattern:
                self.plain.add((file.id, number))
        if rows and len(reasons) == rows:
            raise Unreadable(f"none of its {rows:,} records can be read; the first: {reasons[0]}")
        self.rows[file.id] = rows - added
        self.exploded[file.id] = added

    def _match(self, block: Block) -> tuple[str | None, Mask]:
        return matched(block, self.pattern)

    def _learn(self, file: RawFile, block: Block, unknown: npt.NDArray[np.intp], reasons: list[str]) -> None:
        """Parse what no expression has recognised yet, widening the expression as soon as that shows anything new."""
        size = _FIRST_LOOK
        while len(unknown):
            batch, unknown = unknown[:size], unknown[size:]
            size *= 2
            new = False
            full = self.fixed and self.root.size() > _PATHS_PER_COLUMN * self.max_columns
            for index in batch:
                try:
                    record = exact.parse(text_of(block, int(index)))
                    new |= not full and observe(self.root, record, f"{file.key}:{block.lines[index]}", self.lens)
                except exact.BadRecord as error:
                    reasons.append(str(error))
            if new:
                self.lessons += 1
                if not self.fixed and self.root.size() > _PATHS_PER_COLUMN * self.max_columns:
                    raise too_wide(self.root, self.max_columns)
                self.pattern = shape.pattern(self.root)
                self.plain.clear()
                if len(unknown):
                    rest = Block(block.texts.take(unknown), block.lines[unknown])
                    unknown = unknown[~matched(rest, self.pattern)[1]]
