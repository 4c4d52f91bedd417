"""The second pass: rows of one part of a manifest, written as Parquet with a schema that is settled."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import duckdb

from lake_pipeline.dataset import Dataset
from lake_pipeline.kernel import shape
from lake_pipeline.kernel.accounts import Counts, Dropped
from lake_pipeline.kernel.layout import Layout
from lake_pipeline.kernel.observed import Node
from lake_pipeline.kernel.quoting import identifier, literal
from lake_pipeline.kernel.references import References
from lake_pipeline.kernel.repair import Repairer
from lake_pipeline.kernel.results import DATA, RECORDS, StagedFile
from lake_pipeline.kernel.rows import RowStream
from lake_pipeline.kernel.source import RawFile
from lake_pipeline.kernel.survey import Proof
from lake_pipeline.kernel.transform import DROPPED
from lake_pipeline.notation import bytes_of
from lake_pipeline.schemas import Schema

_log = logging.getLogger(__name__)
# DuckDB builds several row groups at once; a fourth of its memory for two threads' was too much, an eighth was not.
_ROW_GROUPS_IN_MEMORY = 16
_ESCAPED_UTF8 = re.compile("(?:%[89A-F][0-9A-F])+")


@dataclass(frozen=True)
class Shapes:
    """The expressions for plain records, the same for every part: as they stand, and with numbers put between quotes.

    `quoted` is None where not every column is text.
    """

    pattern: str | None
    quoted: str | None

    @staticmethod
    def of(seen: Node, layout: Layout) -> Shapes:
        # Without columns DuckDB parses nothing, so it is no judge of what is JSON.
        if not layout.columns:
            return Shapes(None, None)
        plain = shape.narrow(seen, layout)
        texts_only = all(column.type == "text" for column in layout.columns.values())
        return Shapes(shape.pattern(plain), shape.pattern(plain, numbers=True) if texts_only else None)


@dataclass(frozen=True)
class Means:
    """What a conversion may use: a local folder for copies and spilling, threads, and DuckDB memory such as `2GiB`."""

    scratch: Path
    threads: int
    memory: str

    @property
    def row_group_bytes(self) -> int:
        """What one row group may hold before compression."""
        return bytes_of(self.memory) // _ROW_GROUPS_IN_MEMORY

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB of its own, within these limits."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect()
        connection.execute(f"SET threads = {self.threads}")
        connection.execute(f"SET memory_limit = {literal(self.memory)}")
        connection.execute(f"SET temp_directory = {literal(str(self.scratch / 'spill'))}")
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET autoinstall_known_extensions = false")
        return connection


@dataclass(frozen=True)
class Writer:
    """Writes parts below a local folder: `data/` and, where records were set aside, `records.ndjson`.

    `name` begins the name of every Parquet file.
    """

    dataset: Dataset
    schema: Schema
    references: References
    shapes: Shapes
    name: str

    @property
    def layout(self) -> Layout:
        return Layout.of(self.schema, self.dataset.output, self.dataset.transform, self.references)

    def write(
        self, files: list[RawFile], proof: Proof, folder: Path, means: Means, pool: Executor
    ) -> tuple[tuple[StagedFile, ...], Counts]:
        """Write the files' rows; `proof` is what the survey of the same files knows of their blocks.

        Raises:
            SchemaConflict: the declaration does not fit the schema's types.
        """
        layout, data = self.layout, folder / DATA
        data.mkdir(parents=True, exist_ok=True)
        blocks = proof.blocks if proof.pattern == self.shapes.pattern else frozenset[tuple[int, int]]()
        for careful in (False, True):
            stream = RowStream(
                self.dataset.source,
                self.dataset.schema_.flatten.explode_path,
                self.shapes.pattern,
                self.shapes.quoted,
                blocks,
                Repairer(layout),
                folder / RECORDS,
                careful,
            )
            try:
                outputs, dropped = self._copy(layout, stream, files, data, means, pool)
            except duckdb.InvalidInputException:
                if careful:
                    raise
                _log.info("a record has the shape of its neighbours and is not JSON; checking each one")
                for leftover in sorted(data.rglob("*.parquet")):
                    leftover.unlink()
                continue
            written = rows_by_source([data / output.path for output in outputs])
            return outputs, Counts(
                read=stream.rows_read,
                exploded=stream.rows_exploded,
                rescued=stream.rows_rescued,
                quarantined=stream.rows_quarantined,
                written=written,
                dropped=dropped,
            )
        raise AssertionError("unreachable")

    def _copy(
        self, layout: Layout, stream: RowStream, files: list[RawFile], data: Path, means: Means, pool: Executor
    ) -> tuple[tuple[StagedFile, ...], Dropped]:
        if not files:
            return (), {}
        with means.connect() as connection:
            records = stream.reader(files, pool, means.threads)  # noqa: F841 - DuckDB reads it by name
            rows, dropped = layout.select("records"), Dropped()
            if self.dataset.transform.drops:
                # Held once, for what is dropped must be counted, and the records can be read only once.
                connection.execute(f"CREATE TEMP TABLE cleaned AS {rows}")
                rows, dropped = layout.kept("cleaned"), _dropped(connection)
            written = connection.execute(layout.copy(rows, str(data), self.name, means.row_group_bytes)).fetchall()
        staged = (StagedFile(_spelled_for_hive(path, data), rows, size) for path, rows, size, *_ in written)
        return tuple(sorted((output for output in staged if output.rows), key=lambda output: output.path)), dropped


def _spelled_for_hive(path: str, data: Path) -> str:
    """The file's path below `data`, its folders renamed to what Hive, Spark and Athena read.

    They take each escaped byte for a character of its own, so only ASCII characters may be escaped.
    """
    name = os.path.relpath(path, data)
    spelled = _ESCAPED_UTF8.sub(lambda match: unquote(match[0]), name)
    if spelled != name:
        (data / spelled).parent.mkdir(parents=True, exist_ok=True)
        (data / name).rename(data / spelled)
    return spelled


def _dropped(connection: duckdb.DuckDBPyConnection) -> Dropped:
    rule = identifier(DROPPED)
    query = f"SELECT _source_file, {rule}, count(*) FROM cleaned WHERE {rule} IS NOT NULL GROUP BY ALL ORDER BY ALL"
    dropped = Dropped()
    for key, name, rows in connection.execute(query).fetchall():
        dropped.setdefault(key, {})[name] = rows
    return dropped


def rows_by_source(paths: list[Path]) -> Counter[str]:
    """Rows by source key, counted in Parquet files themselves."""
    if not paths:
        return Counter()
    names = ", ".join(literal(str(path)) for path in paths)
    query = f"SELECT _source_file, count(*) FROM read_parquet([{names}], hive_partitioning = false) GROUP BY 1"
    with duckdb.connect() as connection:
        return Counter(dict(connection.execute(query).fetchall()))
