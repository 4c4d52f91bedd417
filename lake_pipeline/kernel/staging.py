"""A stream's rows as curated files below a local folder, and what those files hold."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pyarrow as pa

from lake_pipeline.dataset import Dataset
from lake_pipeline.kernel import columnar, json_lines
from lake_pipeline.kernel.accounts import Dropped
from lake_pipeline.kernel.columnar import ColumnStream
from lake_pipeline.kernel.layout import Layout
from lake_pipeline.kernel.means import Means
from lake_pipeline.kernel.quoting import identifier, literal
from lake_pipeline.kernel.results import StagedFile
from lake_pipeline.kernel.rows import RowStream
from lake_pipeline.kernel.source import RawFile
from lake_pipeline.kernel.transform import DROPPED

_ESCAPED_UTF8 = re.compile("(?:%[89A-F][0-9A-F])+")


@dataclass(frozen=True)
class Stager:
    """Stages rows below the folder `data`; `name` begins the names of files that hold rows of many."""

    dataset: Dataset
    layout: Layout
    data: Path
    name: str
    means: Means
    pool: Executor

    def stage(self, stream: RowStream | ColumnStream, files: list[RawFile]) -> tuple[tuple[StagedFile, ...], Dropped]:
        """The files that were written, and the rows that were not, by the rule that dropped them or as erased."""
        if self.dataset.output.files == "one_to_one":
            return self._stage_each(stream, files)
        if not files:
            return (), {}
        with self.means.connect() as connection:
            rows, dropped = self._cleaned(connection, stream.reader(files, self.pool, self.means.threads))
            copy = self.layout.copy(rows, str(self.data), self.name, self.means.row_group_bytes)
            written = connection.execute(copy).fetchall()
        staged = (StagedFile(_spelled_for_hive(path, self.data), rows, size) for path, rows, size, *_ in written)
        return tuple(sorted((output for output in staged if output.rows), key=lambda output: output.path)), dropped

    def _stage_each(
        self, stream: RowStream | ColumnStream, files: list[RawFile]
    ) -> tuple[tuple[StagedFile, ...], Dropped]:
        """Each file's rows as JSON lines under its own name, in the order that they have there."""
        staged, dropped = list[StagedFile](), Dropped()
        for file in files:
            stem = file.key.removeprefix(self.dataset.source.prefix).removesuffix(columnar.SUFFIX)
            target = self.data / (stem + json_lines.SUFFIX)
            with self.means.connect(in_order=True) as connection:
                rows, found = self._cleaned(connection, stream.reader([file], self.pool, self.means.threads))
                written = json_lines.write_lines(connection, rows, self.layout.schema.columns, target)
            staged.append(StagedFile(stem + json_lines.SUFFIX, written, target.stat().st_size, file.id))
            dropped |= found
        return tuple(staged), dropped

    def _cleaned(self, connection: duckdb.DuckDBPyConnection, records: pa.RecordBatchReader) -> tuple[str, Dropped]:
        """A query of the rows that stay, and those that do not, counted."""
        connection.register("records", records)
        rows = self.layout.select("records", typed=self.dataset.source.format == "parquet")
        if not self.layout.drops:
            return rows, Dropped()
        # Held once, for what is dropped must be counted, and the records can be read only once.
        connection.execute(f"CREATE TEMP TABLE cleaned AS {rows}")
        return self.layout.kept("cleaned"), _dropped(connection)

    def written(self, outputs: tuple[StagedFile, ...], files: list[RawFile]) -> Counter[str]:
        """Rows by source key, counted in the staged files themselves."""
        if self.dataset.output.format == "parquet":
            return rows_by_source([self.data / output.path for output in outputs])
        keys = {file.id: file.key for file in files}
        lines = ((output.file_id, json_lines.count_lines(self.data / output.path)) for output in outputs)
        return Counter({keys[id_]: rows for id_, rows in lines if id_ is not None})

    def clear(self) -> None:
        """Delete what was staged."""
        for leftover in sorted(path for path in self.data.rglob("*") if path.is_file()):
            leftover.unlink()


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


def rows_by_source(files: Sequence[Path | str], connection: duckdb.DuckDBPyConnection | None = None) -> Counter[str]:
    """Rows by source key, counted in Parquet files themselves; the connection, if one is given, is closed."""
    if not files:
        return Counter()
    names = ", ".join(literal(str(file)) for file in files)
    query = f"SELECT _source_file, count(*) FROM read_parquet([{names}], hive_partitioning = false) GROUP BY 1"
    with connection or duckdb.connect() as opened:
        return Counter(dict(opened.execute(query).fetchall()))
