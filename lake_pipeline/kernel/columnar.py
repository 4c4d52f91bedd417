"""Parquet in: the two passes of a conversion over columns, as survey.py and rows.py are over record texts.

A column's type is the file's and not its values', so the first pass learns from footers; it decodes every page all the
same, for a file that breaks off in the middle must be known before any of its rows is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pat

from lake_pipeline.dataset import Source
from lake_pipeline.errors import SchemaConflict
from lake_pipeline.kernel.arrow_types import arrow_type
from lake_pipeline.kernel.exact import dumps
from lake_pipeline.kernel.fitting import fit
from lake_pipeline.kernel.layout import Layout
from lake_pipeline.kernel.matching import ahead
from lake_pipeline.kernel.observed import Lens, Node
from lake_pipeline.kernel.parquet_files import batches, check_expected, count_rows, opened
from lake_pipeline.kernel.parquet_types import observe_columns
from lake_pipeline.kernel.scalars import as_json
from lake_pipeline.kernel.source import RawFile, Unreadable
from lake_pipeline.kernel.survey import Observation, Proof
from lake_pipeline.schemas import Column, Path
from lake_pipeline.store.paths import is_file_path

SUFFIX = ".parquet"
_DICTIONARY = pa.dictionary(pa.int32(), pa.string())


@dataclass
class ColumnSurvey:
    """Looks at Parquet files; `found` is what they hold. `named`: a name must end in `.parquet`."""

    lens: Lens
    source: Source
    named: bool = False
    found: Observation = field(default_factory=Observation)

    @property
    def proof(self) -> Proof:
        """Nothing: a column's type is no property of a block."""
        return Proof()

    def add(self, later: Observation) -> None:
        """Add what another survey found in a later part of the manifest."""
        self.found.add(later)

    def look(self, files: list[RawFile], pool: Executor, depth: int) -> None:
        """Read every file once; only those that are whole show what columns there are."""
        for file, found in ahead(pool, self._look_at, files, depth):
            if isinstance(found, Unreadable | OSError):
                self.found.leave_out(file.id, found)
            else:
                self.found.rows[file.id], schema = found
                observe_columns(self.found.root, schema, file.key, self.lens)

    def _look_at(self, file: RawFile) -> tuple[int, pa.Schema] | Unreadable | OSError:
        try:
            if self.named and not file.key.endswith(SUFFIX):
                raise Unreadable(f"its name does not end in {SUFFIX}, so output.files: one_to_one has none for it")
            if self.named and not is_file_path(file.key):
                raise Unreadable("its key cannot be a file's path, so output.files: one_to_one has no name for it")
            with opened(file.path) as parquet:
                schema = parquet.schema_arrow
                check_expected(file.path, schema, self.source.expect)
                observe_columns(Node(), schema, file.key, self.lens)
                return count_rows(parquet, file.path, self.source.max_unpacked_bytes), schema
        except (Unreadable, OSError) as error:
            return error


@dataclass
class _Part:
    columns: list[pa.Array[Any]]
    rescued: dict[int, dict[str, str]]


class ColumnStream:
    """Batches for DuckDB, each a struct `r` of the table's columns, and on the way the counts by file id.

    `strict`: a value that would be rescued fails the manifest; the error stays in `error`, since DuckDB tells only of
    its text.
    """

    def __init__(self, layout: Layout, strict: bool) -> None:
        self._layout = layout
        self._strict = strict
        self._columns = list(layout.columns.values())
        self._types = [pa.field(column.name, arrow_type(column.type)) for column in self._columns]
        self.error: SchemaConflict | None = None
        self.rows_read: Counter[int] = Counter()
        self.rows_exploded: Counter[int] = Counter()
        self.rows_rescued: Counter[int] = Counter()
        self.rows_quarantined: Counter[int] = Counter()
        self.has_quarantined = False

    def reader(self, files: list[RawFile], pool: Executor, depth: int) -> pa.RecordBatchReader:
        columns = [pa.field("r", pa.struct(self._types))] if self._types else []
        plain = [("file", _DICTIONARY), ("rescued", pa.string()), ("position", pa.int64())]
        schema = pa.schema([*columns, *(pa.field(name, type_) for name, type_ in plain)])
        return pa.RecordBatchReader.from_batches(schema, self._batches(files, pool, depth, schema))

    def _batches(self, files: list[RawFile], pool: Executor, depth: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for (file, batch), part in ahead(pool, lambda item: self._part(item[1]), _rows_of(files), depth):
            start, rows = self.rows_read[file.id], batch.num_rows
            if part.rescued and self._strict:
                row, names = next(iter(part.rescued.items()))
                self.error = SchemaConflict(
                    f"{file.key}: row {start + row + 1}: column {next(iter(names))!r} cannot hold"
                    f" {next(iter(names.values()))} (schema.mode is strict)"
                )
                raise self.error
            self.rows_read[file.id] += rows
            self.rows_rescued[file.id] += len(part.rescued)
            texts = [_object(part.rescued[row]) if row in part.rescued else None for row in range(rows)]
            held = [pa.StructArray.from_arrays(part.columns, fields=self._types)] if self._types else []
            yield pa.RecordBatch.from_arrays(
                [
                    *held,
                    pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([file.key])),
                    pa.array(texts, pa.string()) if part.rescued else pa.nulls(rows, pa.string()),
                    pa.array(np.arange(start, start + rows)),
                ],
                schema=schema,
            )

    def _part(self, batch: pa.RecordBatch) -> _Part:
        """A batch's values in the table's columns, and by row those that have no place there."""
        found: dict[Path, pa.Array[Any]] = {}
        rescued: dict[int, dict[str, str]] = {}
        for path, column, values in self._placed(batch.schema.names, batch.columns, ()):
            if column is None:
                misfits = [row for row, value in enumerate(values) if value.is_valid]
            else:
                found[path], misfits = fit(values, column.type, label=path in self._layout.labels)
            for row in misfits:
                _keep(rescued.setdefault(row, {}), column.name if column else ".".join(path), as_json(values[row]))
        columns = [
            found[column.path] if column.path in found else pa.nulls(batch.num_rows, type_.type)
            for column, type_ in zip(self._columns, self._types, strict=True)
        ]
        return _Part(columns, rescued)

    def _placed(
        self, names: list[str], arrays: list[pa.Array[Any]], path: Path
    ) -> Iterator[tuple[Path, Column | None, pa.Array[Any]]]:
        """Each array with the column that it belongs to, objects whose keys are columns taken apart."""
        for name, values in zip(names, arrays, strict=True):
            here = (*path, name)
            if pat.is_struct(values.type) and here in self._layout.parents:
                yield from self._placed([inner.name for inner in values.type], values.flatten(), here)
            elif here in self._layout.columns or not pat.is_null(values.type):
                yield here, self._layout.columns.get(here), values


def _rows_of(files: list[RawFile]) -> Iterator[tuple[RawFile, pa.RecordBatch]]:
    for file in files:
        with opened(file.path) as parquet:
            for batch in batches(parquet, file.path):
                yield file, batch


def _object(members: dict[str, str]) -> str:
    return "{" + ",".join(f"{dumps(name)}:{text}" for name, text in members.items()) + "}"


def _keep(rescued: dict[str, str], name: str, text: str) -> None:
    """Under its name, or under `name_2`, … where two source paths are spelled alike."""
    free, number = name, 2
    while free in rescued:
        free, number = f"{name}_{number}", number + 1
    rescued[free] = text
