"""Curated files without some of their rows: which hold rows that match a predicate, and those files written anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import ConservationError, PredicateInvalid
from lake_pipeline.kernel.json_reading import patterns, read_sql
from lake_pipeline.kernel.layout import parquet_options
from lake_pipeline.kernel.means import Means
from lake_pipeline.kernel.predicate import table_columns
from lake_pipeline.kernel.quoting import identifier, literal
from lake_pipeline.output import partition_keys
from lake_pipeline.schemas import Schema
from lake_pipeline.store.filesystem import S3FileSystem

_FILE = "lake: file"
_FLAGS = 10_000
_BATCH = 2**16


@dataclass(frozen=True)
class Table:
    """A dataset's curated files, as predicates see them; `files` are named as DuckDB names them."""

    dataset: Dataset
    schema: Schema
    means: Means

    def matches(self, files: Mapping[str, str | None], condition: str) -> dict[str, dict[str, int]]:
        """Matching rows by file and source key; a file's raw file's key is given where it is one raw file's.

        Raises:
            PredicateInvalid: the condition fails on some row.
        """
        if not files:
            return {}
        if self.dataset.output.format == "json":
            sources = {path: key or "" for path, key in files.items()}
            by_key = {key: path for path, key in sources.items()}
            query = f"SELECT _source_file, count(*) FROM ({self._lines(sources)}) WHERE {condition} GROUP BY 1"
            return {by_key[key]: {key: rows} for key, rows in self._answer(query, sources)}
        found: dict[str, dict[str, int]] = {}
        query = (
            f"SELECT {identifier(_FILE)}, _source_file, count(*) FROM ({self._rows(files)}) WHERE {condition}"
            " GROUP BY ALL ORDER BY ALL"
        )
        for path, key, rows in self._answer(query, files):
            found.setdefault(path, {})[key] = rows
        return found

    def rewrite(self, file: str, condition: str, target: Path) -> tuple[int, int]:
        """Write a Parquet file without its matching rows, else as it is; the rows it had, and those that stay.

        Where none stays, no file is written.

        Raises:
            ConservationError: rows were lost or doubled.
        """
        with self.means.connect(in_order=True) as connection:
            self._lock(connection, [file], target)
            rows, own = self._one(connection, file)
            counts = f"SELECT count(*), count(*) FILTER (WHERE {condition}) FROM ({rows})"
            ((before, matching),) = connection.execute(counts).fetchall()
            if before == matching:
                return before, 0
            kept = f"SELECT {own} FROM ({rows}) WHERE ({condition}) IS NOT TRUE"
            options = ", ".join(parquet_options(self.dataset.output, self.means.row_group_bytes))
            target.parent.mkdir(parents=True, exist_ok=True)
            # By way of Arrow, for what DuckDB knows to hold no NULL it would write as a column that cannot.
            writing = connection.cursor()
            writing.register("kept", connection.sql(kept).to_arrow_reader(_BATCH))
            writing.execute(f"COPY kept TO {literal(str(target))} ({options})").fetchall()
            count = f"SELECT count(*) FROM read_parquet({literal(str(target))}, hive_partitioning = false)"
            ((written,),) = writing.execute(count).fetchall()
        return _conserved(file, before, matching, written)

    def rewrite_lines(self, file: Path, source: str, condition: str, target: Path) -> tuple[int, int]:
        """The same of a local file of JSON lines; the lines that stay are those that were there, byte by byte."""
        before = written = matching = 0
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            self.means.connect(in_order=True) as connection,
            file.open("rb") as lines,
            target.open("wb") as kept,
        ):
            self._lock(connection, [str(file)])
            flags = connection.execute(f"SELECT ({condition}) IS TRUE FROM ({self._lines({str(file): source})})")
            while page := flags.fetchmany(_FLAGS):
                matching += sum(erased for (erased,) in page)
                for (erased,), line in zip(page, lines, strict=False):
                    before += 1
                    if not erased:
                        kept.write(line)
                        written += 1
            before += sum(1 for _ in lines)
        return _conserved(str(file), before, matching, written)

    def _rows(self, files: Iterable[str]) -> str:
        """A query of Parquet files' rows with every column of the table, NULL where a file has none."""
        columns = table_columns(self.dataset, self.schema)
        none = ", ".join(f"CAST(NULL AS {type_}) AS {identifier(name)}" for name, type_ in columns.items())
        read = self._read(files, f", union_by_name = true, filename = {literal(_FILE)}")
        return (
            f"SELECT * FROM (SELECT {none}, NULL::VARCHAR AS {identifier(_FILE)} WHERE false) UNION ALL BY NAME {read}"
        )

    def _one(self, connection: duckdb.DuckDBPyConnection, file: str) -> tuple[str, str]:
        """A query of one Parquet file's rows, in their order, and the columns that are the file's own."""
        described = connection.execute(
            f"DESCRIBE SELECT * FROM read_parquet({literal(file)}, hive_partitioning = false)"
        ).fetchall()
        own = [name for name, *_ in described]
        there = {name.lower() for name in own} | {key.lower() for key in self._keys}
        missing = "".join(
            f", CAST(NULL AS {type_}) AS {identifier(name)}"
            for name, type_ in table_columns(self.dataset, self.schema).items()
            if name.lower() not in there
        )
        return f"SELECT *{missing} FROM ({self._read([file])})", ", ".join(map(identifier, own))

    def _read(self, files: Iterable[str], more: str = "") -> str:
        """A query of Parquet files' rows with the Hive keys of their folders, of the table's types."""
        listed = ", ".join(map(literal, files))
        texts = ", ".join(f"{literal(key)}: VARCHAR" for key in self._keys)
        hive = f"hive_partitioning = true, hive_types = {{{texts}}}" if texts else "hive_partitioning = false"
        types = {name.lower(): type_ for name, type_ in table_columns(self.dataset, self.schema).items()}
        typed = [f"CAST({identifier(key)} AS {types[key.lower()]}) AS {identifier(key)}" for key in self._keys]
        replaced = f" REPLACE ({', '.join(typed)})" if typed else ""
        return f"SELECT *{replaced} FROM read_parquet([{listed}], {hive}{more})"

    @property
    def _keys(self) -> list[str]:
        return [key for key, _, _ in partition_keys(self.dataset.output.partition_by)]

    def _lines(self, sources: Mapping[str, str]) -> str:
        return read_sql(self.schema.columns, sources)

    def _answer(self, query: str, files: Iterable[str]) -> list[tuple[Any, ...]]:
        with self.means.connect() as connection:
            self._lock(connection, list(files))
            try:
                return connection.execute(query).fetchall()
            except duckdb.ConversionException as error:
                raise PredicateInvalid(str(error).split("\n")[0]) from error

    def _lock(self, connection: duckdb.DuckDBPyConnection, files: Sequence[str], target: Path | None = None) -> None:
        """Let a connection read these files, write the target and do nothing else: a predicate is a stranger's text."""
        if any(file.startswith("s3://") for file in files):
            connection.register_filesystem(S3FileSystem())
        allowed = [*files, *patterns(files), *([str(target)] if target else [])]
        connection.execute(f"SET allowed_paths = [{', '.join(map(literal, allowed))}]")
        connection.execute(f"SET allowed_directories = [{literal(str(self.means.scratch))}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")


def _conserved(file: str, before: int, matching: int, written: int) -> tuple[int, int]:
    if written != before - matching:
        raise ConservationError(f"{file}: of {before:,} rows {matching:,} match, and {written:,} were left")
    return before, written
