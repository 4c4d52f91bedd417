"""The first pass: every record of the manifest is looked at, so that types come from all of it and not a sample.

Records of a shape already seen are recognised by one expression and need no parsing; only the others are parsed,
and what they show widens the expression. Parts of a manifest can be looked at by themselves; see `Observation.add`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lake_pipeline.dataset import Dataset, Source
from lake_pipeline.evolution import too_wide
from lake_pipeline.kernel import exact, shape
from lake_pipeline.kernel.groups import Group, group_bytes, grouped
from lake_pipeline.kernel.matching import Mask, ahead, matched, text_of
from lake_pipeline.kernel.observed import Lens, Node, observe
from lake_pipeline.kernel.records import Block
from lake_pipeline.kernel.segments import Pattern
from lake_pipeline.kernel.source import EMPTY, RawFile, TooLarge, Unreadable
from lake_pipeline.output import partition_keys
from lake_pipeline.schemas import Schema

_FIRST_LOOK = 64
# Objects on the way to a column are paths too; a survey of many more paths than columns need not go on.
_PATHS_PER_COLUMN = 4


@dataclass
class Observation:
    """What some readable files hold.

    `rows`: records by file id, once settled only of files that can be read; `exploded`: rows that exploding an array
    adds to them; `bad`: those of both that cannot be read, and why the first cannot; `unreadable`: reason by file id,
    for files that are to be quarantined whole, `too_large` those among them that unpack to more than is allowed;
    `vanished`: reason for files that went away.
    """

    root: Node = field(default_factory=Node)
    rows: Counter[int] = field(default_factory=Counter)
    exploded: Counter[int] = field(default_factory=Counter)
    bad: dict[int, tuple[int, str]] = field(default_factory=dict)
    unreadable: dict[int, str] = field(default_factory=dict)
    too_large: set[int] = field(default_factory=set)
    vanished: dict[int, str] = field(default_factory=dict)

    def add(self, later: Observation) -> None:
        """Add what a later part of the manifest holds: other files, or a later span of the same file."""
        self.root.add(later.root)
        self.rows.update(later.rows)
        self.exploded.update(later.exploded)
        for id_, (count, reason) in later.bad.items():
            before, first = self.bad.get(id_, (0, reason))
            self.bad[id_] = before + count, first
        self.unreadable |= later.unreadable
        self.too_large |= later.too_large
        self.vanished |= later.vanished

    def leave_out(self, id_: int, error: Unreadable | OSError) -> None:
        """Note why a file cannot be read, or that it went away."""
        (self.unreadable if isinstance(error, Unreadable) else self.vanished)[id_] = str(error)
        if isinstance(error, TooLarge):
            self.too_large.add(id_)

    def settle(self, split: Container[int] = ()) -> None:
        """Set aside whole each file that has no readable record; of spans (files `split`) none can know by itself."""
        for id_, rows in self.rows.items():
            count, reason = self.bad.get(id_, (0, ""))
            if rows and count == rows + self.exploded[id_]:
                self.unreadable[id_] = f"none of its {rows:,} records can be read; the first: {reason}"
            elif not rows and id_ in split:
                self.unreadable[id_] = EMPTY
        for id_ in [*self.unreadable, *self.vanished]:
            self.rows.pop(id_, None)


@dataclass(frozen=True)
class Proof:
    """(file id, block number) of the blocks whose every record matches `pattern`."""

    pattern: Pattern | None = None
    blocks: frozenset[tuple[int, int]] = frozenset()


@dataclass
class Survey:
    """Looks at files; `found` is what they hold.

    With far more paths than `max_columns` nothing more is learnt where the schema is `fixed`, and it is an error
    where they would become columns.
    """

    lens: Lens
    source: Source
    max_columns: int
    fixed: bool
    explode: tuple[str, ...] = ()
    found: Observation = field(default_factory=Observation)
    pattern: Pattern | None = None
    plain: set[tuple[int, int]] = field(default_factory=set)
    lessons: int = 0  # how often something new was seen
    teachers: set[int] = field(default_factory=set)  # the files in which it was
    tainted: bool = False  # whether one of those could not be read to its end

    @property
    def proof(self) -> Proof:
        """What is known of the blocks, so that the second pass need not match them again."""
        return Proof(self.pattern, frozenset(self.plain))

    def add(self, later: Observation) -> None:
        """Add what another survey found in a later part of the manifest.

        Raises:
            SchemaConflict: more paths than any schema of this dataset may have.
        """
        self.found.add(later)
        self._refuse_width()

    def _refuse_width(self) -> None:
        if not self.fixed and self.is_full:
            raise too_wide(self.found.root, self.max_columns)

    @property
    def is_full(self) -> bool:
        """Whether there are far more paths than there may be columns."""
        return self.found.root.size() > _PATHS_PER_COLUMN * self.max_columns

    def look(self, files: list[RawFile], pool: Executor, depth: int) -> None:
        """Read every file once; again from the start where one proved unreadable after it had shown something new.

        Raises:
            SchemaConflict: more paths than any schema of this dataset may have.
        """
        for group, found in ahead(pool, self.match, self.groups(files), depth):
            self.take(group, *found)
        self.look_again(files, pool, depth)

    def look_again(self, files: list[RawFile], pool: Executor, depth: int) -> None:
        """Read every file anew where one that showed something cannot be read to its end; else nothing."""
        if self.tainted:
            self._forget()
            left_out = self.found.unreadable | self.found.vanished
            self.look([file for file in files if file.id not in left_out], pool, depth)

    def groups(self, files: list[RawFile]) -> Iterator[Group]:
        """The files' records as they are looked at."""
        return grouped(files, self.source, self.explode, lambda: group_bytes(self.pattern))

    def match(self, group: Group) -> tuple[Pattern | None, Mask]:
        """What `take` needs to know of a group; for any thread."""
        return matched(group.block, self.pattern)

    def take(self, group: Group, pattern: Pattern | None, mask: Mask) -> None:
        """Look at the next group, which was matched with an expression that may be an older one.

        Raises:
            SchemaConflict: more paths than any schema of this dataset may have.
        """
        found = self.found
        if pattern != self.pattern and not mask.all():
            pattern, mask = self.match(group)
        if not mask.all():
            self._learn(group, np.flatnonzero(~mask))
        elif pattern == self.pattern:
            self.plain.update((piece.file.id, piece.number) for piece in group.pieces)
        for piece in group.pieces:
            found.rows[piece.file.id] += piece.records - piece.exploded
            found.exploded[piece.file.id] += piece.exploded
        for file, error in group.ended:
            if error is None:
                found.rows[file.id] += 0  # a file without records is one that was read
            else:
                found.leave_out(file.id, error)
                found.rows.pop(file.id, None)
                self.tainted |= file.id in self.teachers

    def _forget(self) -> None:
        """Unlearn everything but which files cannot be read."""
        found = self.found
        found.root, found.rows, found.exploded, found.bad = Node(), Counter(), Counter(), {}
        self.pattern, self.tainted = None, False
        self.plain.clear()
        self.teachers.clear()

    def _learn(self, group: Group, unknown: npt.NDArray[np.intp]) -> None:
        """Parse what no expression has recognised yet, widening the expression as soon as that shows anything new."""
        size, root, block, owners = _FIRST_LOOK, self.found.root, group.block, group.owners
        while len(unknown):
            batch, unknown = unknown[:size], unknown[size:]
            size *= 2
            new = False
            full = self.fixed and self.is_full
            for index in batch:
                file = group.pieces[owners[index]].file
                try:
                    record = exact.parse(text_of(block, int(index)))
                    if not full and observe(root, record, f"{file.key}:{block.lines[index]}", self.lens):
                        self.teachers.add(file.id)
                        new = True
                except exact.BadRecord as error:
                    count, first = self.found.bad.get(file.id, (0, str(error)))
                    self.found.bad[file.id] = count + 1, first
            if new:
                self.lessons += 1
                self._refuse_width()
                self.pattern = shape.pattern(root)
                self.plain.clear()
                if len(unknown):
                    rest = Block(block.texts.take(unknown), block.lines[unknown])
                    unknown = unknown[~matched(rest, self.pattern)[1]]


def lens_of(dataset: Dataset, schema: Schema) -> Lens:
    """How a dataset's records are looked at where these columns are known."""
    rules = dataset.schema_
    hints = {tuple(path.split(".")): type_ for path, type_ in rules.hints.items()}
    known = {column.path: column.type for column in schema.columns}
    types = hints | known
    folders = {name for name, part, _ in partition_keys(dataset.output.partition_by) if part is None}
    labels = {(name,) for name in folders} | {column.path for column in schema.columns if column.name in folders}
    labels |= {tuple(path.split(".")) for path, name in rules.flatten.rename.items() if name in folders}
    parents = schema.parents()
    return Lens(
        opaque=frozenset(
            path for path, type_ in types.items() if type_ == "json" or (type_ == "text" and path not in parents)
        )
        | {path for name in rules.flatten.keep_json if (path := tuple(name.split("."))) not in known},
        timestamps=frozenset(path for path, type_ in types.items() if type_ == "timestamp"),
        labels=frozenset(labels),
        depth=rules.flatten.depth,
        arrays=rules.flatten.arrays == "keep" and rules.mode != "strings",
    )
