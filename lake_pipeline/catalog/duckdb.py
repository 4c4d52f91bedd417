"""The embedded catalogue: a DuckDB database with a view for each dataset, over committed files only.

A view lists its files, so a reader never sees a file that was published and not committed. The database is changed in
a copy that then takes its place, so that a reader keeps what it has open and never waits.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from filelock import FileLock

from lake_pipeline.dataset import Dataset, partition_keys
from lake_pipeline.errors import QueryError
from lake_pipeline.kernel.json_reading import read_sql
from lake_pipeline.kernel.quoting import identifier, literal
from lake_pipeline.kernel.transform import ranking
from lake_pipeline.lake import Lake
from lake_pipeline.schemas import Schema

_ROWS_AT_ONCE = 10_000


def refresh(lake: Lake, dataset: Dataset) -> int:
    """Bring a dataset's view up to the ledger; the rows of its files."""
    if not lake.schema(dataset.name).version:
        return 0
    with _changed(lake.settings.catalog_path) as connection:
        # Inside the lock, so that the last to write has seen the newest commit.
        mark = lake.ledger.commit_mark(dataset.name)
        outputs = lake.ledger.committed_outputs(dataset.name)
        connection.execute(view_sql(dataset, lake.schema(dataset.name), table_files(lake, dataset)))
        connection.execute(f"COMMENT ON VIEW {identifier(dataset.name)} IS {literal(mark)}")
    return sum(output.rows for output in outputs)


def show_extract(lake: Lake, table: str, files: list[str]) -> None:
    """Make an extract's files a table of the catalogue, in place of those that it showed before."""
    listed = ", ".join(literal(lake.store.uri(key)) for key in files)
    with _changed(lake.settings.catalog_path) as connection:
        connection.execute(
            f"CREATE OR REPLACE VIEW {identifier(table)} AS"
            f" SELECT * FROM read_parquet([{listed}], hive_partitioning = false)"
        )


@contextmanager
def _changed(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a copy of the database, which takes its place at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        FileLock(path.with_suffix(".lock")),
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".catalog-") as folder,
    ):
        fresh = Path(folder) / path.name
        if path.exists():
            shutil.copyfile(path, fresh)
        with duckdb.connect(str(fresh)) as connection:
            read_s3(connection)
            yield connection
        fresh.replace(path)


def refresh_if_stale(lake: Lake, dataset: Dataset) -> None:
    """Refresh where a process was killed between a commit and the table that shows it."""
    if _mark(lake.settings.catalog_path, dataset.name) != lake.ledger.commit_mark(dataset.name):
        refresh(lake, dataset)


def _mark(path: Path, name: str) -> str:
    """The last commit that the dataset's view shows; empty where there is no view."""
    if not path.exists():
        return ""
    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute("SELECT comment FROM duckdb_views() WHERE view_name = ?", [name]).fetchone()
    return str(found[0] or "") if found else ""


def table_files(lake: Lake, dataset: Dataset) -> dict[str, str | None]:
    """The table's files as a query engine names them, each with its raw file's key where it is one raw file's.

    A name that is still to get its first content is left out: the view is made again once it has it.
    """
    sources = lake.ledger.output_sources(dataset.name)
    awaited = {path for path in lake.ledger.unreleased_outputs(dataset.name) if not lake.store.exists(path)}
    outputs = lake.ledger.committed_outputs(dataset.name)
    paths = (output.path for output in outputs if output.path not in awaited)
    return {lake.store.uri(path): sources.get(path) for path in paths}


def view_sql(dataset: Dataset, schema: Schema, files: Mapping[str, str | None]) -> str:
    """The view's definition: the schema's columns in order, then the Hive keys that are computed."""
    keys = partition_keys(dataset.output.partition_by)
    names = [column.name for column in schema.columns]
    computed = [key for key, part, _ in keys if part or key not in names]
    selected = ", ".join(identifier(name) for name in [*names, "_source_file", "_rescued", *computed])
    view = f"CREATE OR REPLACE VIEW {identifier(dataset.name)} AS SELECT {selected} FROM"
    if not files:
        nothing = ", ".join(f"NULL AS {identifier(name)}" for name in [*names, "_source_file", "_rescued", *computed])
        return f"{view} (SELECT {nothing}) WHERE false"
    if dataset.output.format == "json":
        sources = {path: key or "" for path, key in files.items()}
        return f"{view} ({read_sql(schema.columns, sources)})"
    types = ", ".join(f"{literal(key)}: {'BIGINT' if part else 'VARCHAR'}" for key, part, _ in keys)
    hive = f", hive_partitioning = true, hive_types = {{{types}}}" if keys else ", hive_partitioning = false"
    rows = f"read_parquet([{', '.join(map(literal, files))}], union_by_name = true{hive})"
    return f"{view} {rows}{_one_row_a_key(dataset, schema)}"


def _one_row_a_key(dataset: Dataset, schema: Schema) -> str:
    """What keeps a row from being shown beside its equals in other manifests, which each hold one."""
    rule = dataset.transform.deduplicate
    names = {column.name.lower(): identifier(column.name) for column in schema.columns}
    if rule is None or any(key.lower() not in names for key in rule.keys):
        return ""
    keys = [names[key.lower()] for key in rule.keys]
    order = ranking(rule, schema, [identifier("_source_file")])
    rank = f"row_number() OVER (PARTITION BY {', '.join(keys)} ORDER BY {order}) = 1"
    return f" QUALIFY {' OR '.join([rank, *(f'{key} IS NULL' for key in keys)])}"


@contextmanager
def _open(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    if not path.exists():
        raise QueryError("nothing has been converted yet; `lake run` or `lake demo` makes the first table")
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        read_s3(connection)
        yield connection


def read_s3(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a connection read `s3://` as the lake's store does."""
    from lake_pipeline.store.filesystem import S3FileSystem  # fsspec takes a moment to import

    connection.register_filesystem(S3FileSystem())


def query(path: Path, sql: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Column names and rows of a query on the catalogue; the rows are streamed.

    Raises:
        QueryError: there is no catalogue yet, or DuckDB refused the query; the message says why. Rows may raise it too.
    """
    answer = _answer(path, sql)
    return list(next(answer)), answer


def _answer(path: Path, sql: str) -> Iterator[tuple[Any, ...]]:
    """The column names, then the rows."""
    try:
        with _open(path) as connection:
            cursor = connection.execute(sql)
            yield tuple(column[0] for column in cursor.description or ())
            while page := cursor.fetchmany(_ROWS_AT_ONCE):
                yield from page
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
