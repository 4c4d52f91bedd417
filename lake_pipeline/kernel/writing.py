"""Rows of one part of a manifest, written with a schema that is settled."""

from __future__ import annotations

import logging
from collections import Counter
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import duckdb

from lake_pipeline.dataset import Dataset
from lake_pipeline.erasures import Erasure
from lake_pipeline.errors import LakeError
from lake_pipeline.kernel import shape
from lake_pipeline.kernel.accounts import Counts, Dropped
from lake_pipeline.kernel.columnar import ColumnStream
from lake_pipeline.kernel.layout import Layout
from lake_pipeline.kernel.means import Means
from lake_pipeline.kernel.misfits import Misfits
from lake_pipeline.kernel.observed import Node
from lake_pipeline.kernel.predicate import check_predicate, erased_sql
from lake_pipeline.kernel.references import References
from lake_pipeline.kernel.repair import Repairer
from lake_pipeline.kernel.results import DATA, RECORDS, StagedFile
from lake_pipeline.kernel.rows import RowStream
from lake_pipeline.kernel.segments import Pattern
from lake_pipeline.kernel.sorting import SecondPass, Sorting
from lake_pipeline.kernel.source import RawFile
from lake_pipeline.kernel.staging import Stager
from lake_pipeline.kernel.survey import Proof
from lake_pipeline.schemas import Schema

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How every part of a manifest is written: the settled schema, and the expressions for plain records of JSON.

    `pattern` is for records as they stand, `quoted` for those with numbers put between quotes; it is None where not
    every column is text. `strict`: a value that does not fit fails the manifest.
    """

    schema: Schema
    pattern: Pattern | None
    quoted: Pattern | None
    strict: bool
    misfits: Misfits | None = None
    covered: bool = False

    @staticmethod
    def of(dataset: Dataset, known: Schema, schema: Schema, references: References, seen: Node) -> Recipe:
        """The recipe for what was `seen` where the columns `known` became the schema's.

        Raises:
            SchemaConflict: the declaration does not fit the schema's types.
        """
        layout = Layout.of(schema, dataset.output, dataset.transform, references)
        strict = known.version > 0 and dataset.schema_.mode == "strict"
        # Without columns DuckDB parses nothing, so it is no judge of what is JSON.
        if dataset.source.format == "parquet" or not layout.columns:
            return Recipe(schema, None, None, strict)
        plain = shape.narrow(seen, layout)
        texts_only = all(column.type == "text" for column in layout.columns.values())
        quoted = shape.pattern(plain, numbers=True) if texts_only else None
        return Recipe(schema, shape.pattern(plain), quoted, strict, Misfits.of(seen, layout), shape.covers(seen, plain))


@dataclass(frozen=True)
class Writer:
    """Writes parts below a local folder: `data/` and, where records were set aside, `records.ndjson`.

    `name` begins the names of files that hold rows of many; rows that `erasures` ask for are left out.
    """

    dataset: Dataset
    recipe: Recipe
    references: References
    name: str
    erasures: tuple[Erasure, ...] = ()

    def write(
        self, files: list[RawFile], proof: Proof, folder: Path, means: Means, pool: Executor
    ) -> tuple[tuple[StagedFile, ...], Counts]:
        """Write the files' rows; `proof` is what the survey of the same files knows of their blocks.

        Raises:
            SchemaConflict: a value does not fit, and the schema's mode is strict.
            PredicateInvalid: an erasure asks for columns that these rows do not have.
        """
        layout = self._layout(files)
        stager = self._stager(layout, folder, means, pool)
        if self.dataset.source.format == "parquet":
            stream, outputs, dropped = self._write_columns(layout, stager, files)
        else:
            stream, outputs, dropped = self._write_records(layout, stager, files, proof, folder / RECORDS)
        return outputs, _counts(stream, stager.written(outputs, files), dropped)

    def write_sorted(
        self, sorting: Sorting, files: list[RawFile], folder: Path, means: Means, pool: Executor
    ) -> tuple[tuple[StagedFile, ...], Counts]:
        """Write the files' records as somebody hands them on; nothing is left of rows that could not all be written.

        Raises:
            LakeError, duckdb.Error: they could not; who hands them on may know why.
        """
        layout = self._layout(files)
        stager = self._stager(layout, folder, means, pool)
        stream = RowStream(sorting, Repairer(layout), folder / RECORDS)
        try:
            outputs, dropped = stager.stage(stream, files)
        except (LakeError, duckdb.Error):
            stager.clear()
            (folder / RECORDS).unlink(missing_ok=True)
            raise
        return outputs, _counts(stream, stager.written(outputs, files), dropped)

    def _layout(self, files: list[RawFile]) -> Layout:
        erased = erased_sql(self.erasures, {file.key: file.id for file in files})
        layout = Layout.of(self.recipe.schema, self.dataset.output, self.dataset.transform, self.references, erased)
        if erased:
            for erasure in self.erasures:
                check_predicate(erasure.predicate, self.dataset, self.recipe.schema)
        return layout

    def _stager(self, layout: Layout, folder: Path, means: Means, pool: Executor) -> Stager:
        data = folder / DATA
        data.mkdir(parents=True, exist_ok=True)
        return Stager(self.dataset, layout, data, self.name, means, pool)

    def _write_columns(
        self, layout: Layout, stager: Stager, files: list[RawFile]
    ) -> tuple[RowStream | ColumnStream, tuple[StagedFile, ...], Dropped]:
        stream = ColumnStream(layout, self.recipe.strict)
        try:
            return stream, *stager.stage(stream, files)
        except duckdb.Error:
            if stream.error:
                raise stream.error from None
            raise

    def _write_records(
        self, layout: Layout, stager: Stager, files: list[RawFile], proof: Proof, quarantine: Path
    ) -> tuple[RowStream | ColumnStream, tuple[StagedFile, ...], Dropped]:
        source, explode = self.dataset.source, self.dataset.schema_.flatten.explode_path
        pattern, quoted = self.recipe.pattern, self.recipe.quoted
        blocks = proof.blocks if proof.pattern == pattern else frozenset[tuple[int, int]]()
        for careful in (False, True):
            sorting = SecondPass(source, explode, pattern, quoted, self.recipe.misfits, blocks, careful)
            stream = RowStream(sorting, Repairer(layout), quarantine)
            try:
                return stream, *stager.stage(stream, files)
            except duckdb.InvalidInputException:
                if careful:
                    raise
                _log.info("a record has the shape of its neighbours and is not JSON; checking each one")
                stager.clear()
        raise AssertionError("unreachable")


def _counts(stream: RowStream | ColumnStream, written: Counter[str], dropped: Dropped) -> Counts:
    return Counts(
        read=stream.rows_read,
        exploded=stream.rows_exploded,
        rescued=stream.rows_rescued,
        quarantined=stream.rows_quarantined,
        written=written,
        dropped=dropped,
    )
