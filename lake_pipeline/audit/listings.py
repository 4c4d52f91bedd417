"""What lies in the store, in key order: by listing it, or by a report of S3 Inventory that stands in for that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Protocol

import duckdb
import pyarrow as pa

from lake_pipeline.discovery.bucket import LakeBucket
from lake_pipeline.discovery.inventory import refuse_other_bucket
from lake_pipeline.discovery.report import Report, read_objects
from lake_pipeline.kernel.quoting import literal
from lake_pipeline.scratch import scratch_folder
from lake_pipeline.store import Store, StoredObject

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS = 10_000
# What is more is sorted on disk.
_MEMORY = "256MiB"


class Listing(Protocol):
    """Objects below a folder, in the order of their keys' bytes."""

    def objects(self, prefix: str) -> Iterator[StoredObject]: ...


class StoreListing:
    """The store's own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        return chain.from_iterable(self._store.list(prefix))


class _ReportListing:
    """A report's, which no one keeps in order: DuckDB sorts it on disk."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        query = "SELECT * FROM reported WHERE starts_with(key, $1) ORDER BY key"
        with self._connection.cursor() as cursor:
            for batch in cursor.sql(query, params=[prefix]).to_arrow_reader(_ROWS):
                for row in batch.to_pylist():
                    landed = _EPOCH + timedelta(microseconds=row["landed"])
                    yield StoredObject(row["key"], row["size"], row["etag"], landed)


@contextmanager
def reported(report: Report, store_url: str) -> Iterator[Listing]:
    """A report as a listing, below this machine's temporary folder as long as the block runs.

    It is a day old, so whatever does not fit is looked at in the store itself.

    Raises:
        SettingsError: the store is a directory.
        InventoryInvalid: the report is of another bucket, or cannot be read.
    """
    bucket = LakeBucket.of(store_url, "an inventory")
    refuse_other_bucket(report, bucket)
    with scratch_folder() as scratch, duckdb.connect(str(scratch / "report.duckdb")) as connection:
        connection.execute(f"SET memory_limit = {literal(_MEMORY)}")
        connection.execute(f"SET temp_directory = {literal(str(scratch))}")
        connection.execute("CREATE TABLE reported (key VARCHAR, size BIGINT, etag VARCHAR, landed BIGINT)")
        for file in report.files:
            for _, objects in read_objects(report, file):
                ours = [item for item in objects if item.key.startswith(bucket.prefix)]
                columns = {
                    "key": [item.key.removeprefix(bucket.prefix) for item in ours],
                    "size": [item.size for item in ours],
                    "etag": [item.etag for item in ours],
                    "landed": [(item.last_modified - _EPOCH) // timedelta(microseconds=1) for item in ours],
                }
                types = [pa.string(), pa.int64(), pa.string(), pa.int64()]
                batch = pa.table([pa.array(v, t) for v, t in zip(columns.values(), types, strict=True)], list(columns))
                connection.register("batch", batch)
                connection.execute("INSERT INTO reported SELECT * FROM batch")
        yield _ReportListing(connection)
