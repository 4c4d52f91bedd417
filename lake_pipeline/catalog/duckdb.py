"""The embedded catalogue: a DuckDB database with a view for each dataset, over committed files only.

A view lists its files, so a reader never sees a file that was published and not committed. The database is changed in
a copy that then takes its place, so that a reader keeps what it has open and never waits.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from filelock import FileLock

from lake_pipeline.catalog.committed import table_files
from lake_pipeline.catalog.contract import Answer
from lake_pipeline.catalog.duckdb_s3 import read_s3
from lake_pipeline.catalog.duckdb_select import write_select as write_select
from lake_pipeline.catalog.duckdb_view import view_sql
from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import QueryError
from lake_pipeline.kernel.quoting import identifier, literal
from lake_pipeline.lake import Lake
from lake_pipeline.published import first_unreadable
from lake_pipeline.settings import Settings

_log = logging.getLogger(__name__)
_ROWS_AT_ONCE = 10_000


def refresh(lake: Lake, dataset: Dataset) -> None:
    """Bring a dataset's view up to the ledger.

    Where a committed file is gone or broken the view stays as it was, and `lake audit` names the file.
    """
    if not lake.schema(dataset.name).version:
        return
    with _changed(lake.settings.catalog_path) as connection:
        # Inside the lock, so that the last to write has seen the newest commit.
        mark = lake.ledger.commit_mark(dataset.name)
        try:
            connection.execute(view_sql(dataset, lake.schema(dataset.name), table_files(lake, dataset)))
        except duckdb.Error as error:
            outputs = lake.ledger.committed_outputs(dataset.name)
            damaged = first_unreadable(lake.store, [output.path for output in outputs])
            if damaged is None:
                raise
            # It must not keep other manifests, or its own, from being converted again.
            _log.warning("%s: %s cannot be read, so the table stays as it was: %s", dataset.name, damaged, error)
            return
        connection.execute(f"COMMENT ON VIEW {identifier(dataset.name)} IS {literal(mark)}")


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


def is_stale(lake: Lake, dataset: Dataset) -> bool:
    """Whether the dataset's view shows another commit than the last, or is not there."""
    return bool(lake.schema(dataset.name).version) and (
        _mark(lake.settings.catalog_path, dataset.name) != lake.ledger.commit_mark(dataset.name)
    )


def refresh_if_stale(lake: Lake, dataset: Dataset) -> None:
    """Refresh where a process was killed between a commit and the table that shows it."""
    if is_stale(lake, dataset):
        refresh(lake, dataset)


def _mark(path: Path, name: str) -> str:
    """The last commit that the dataset's view shows; empty where there is no view."""
    if not path.exists():
        return ""
    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute("SELECT comment FROM duckdb_views() WHERE view_name = ?", [name]).fetchone()
    return str(found[0] or "") if found else ""


@contextmanager
def _open(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    if not path.exists():
        raise QueryError("nothing has been converted yet; `lake run` or `lake demo` makes the first table")
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        read_s3(connection)
        yield connection


def table_uri(settings: Settings, dataset: Dataset) -> str:  # noqa: ARG001 - the contract's signature
    """Where the table is, for a person."""
    return str(settings.catalog_path)


def query(settings: Settings, sql: str) -> Answer:
    """Ask the views; the rows are streamed.

    Raises:
        QueryError: there is no catalogue yet, or DuckDB refused the query; the message says why. Rows may raise it too.
    """
    rows = _answer(settings.catalog_path, sql)
    return Answer(list(next(rows)), rows)


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
