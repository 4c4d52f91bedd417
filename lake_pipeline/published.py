"""What the published files themselves say: how many rows, of which raw files, and the first of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from lake_pipeline.catalog.duckdb_s3 import read_s3
from lake_pipeline.errors import ObjectChanged, ObjectMissing, PublishedUnreadable
from lake_pipeline.kernel.json_lines import SUFFIX
from lake_pipeline.store import Store

_AT_ONCE = 16


def open_parquet(store: Store, key: str) -> pq.ParquetFile:
    """A published file; of one in S3 only what is looked at is downloaded."""
    return pq.ParquetFile(store.local_path(key) or store.open(key))


def count_rows(store: Store, keys: Iterable[str]) -> int:
    """Rows by the footers of Parquet files and the lines of others."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return sum(pool.map(lambda key: rows_in(store, key), keys))


def rows_in(store: Store, key: str) -> int:
    """Rows of one file."""
    if key.endswith(SUFFIX):
        return sum(1 for _ in store.lines(key))
    with open_parquet(store, key) as file:
        return int(file.metadata.num_rows)


def first_unreadable(store: Store, keys: Sequence[str]) -> str | None:
    """The first of these files that is gone or broken, as far as its footer, or its being there, tells."""

    def is_sound(key: str) -> bool:
        try:
            return store.exists(key) if key.endswith(SUFFIX) else rows_in(store, key) >= 0
        except (OSError, ObjectMissing, ObjectChanged, pa.ArrowException):
            return False

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return next((key for key, sound in zip(keys, pool.map(is_sound, keys), strict=True) if not sound), None)


def rows_by_raw_file(store: Store, keys: Iterable[str]) -> Counter[str]:
    """Rows of Parquet files by `_source_file`; only that column is read.

    Raises:
        PublishedUnreadable: one of them is gone or broken.
    """
    from lake_pipeline.kernel.staging import rows_by_source  # most of the kernel, which takes a while to import

    try:
        connection = duckdb.connect()
        if store.root is None:
            read_s3(connection)
        return rows_by_source([store.uri(key) for key in keys], connection)
    except (duckdb.Error, OSError) as error:
        raise PublishedUnreadable(str(error)) from error


def sample_rows(store: Store, keys: list[str], rows: int = 5) -> list[dict[str, Any]]:
    """The first rows of the first file."""
    if not keys:
        return []
    if keys[0].endswith(SUFFIX):
        return [json.loads(line) for line in islice(store.lines(keys[0]), rows)]
    with open_parquet(store, keys[0]) as file:
        batch = next(file.iter_batches(batch_size=rows), None)
        return batch.to_pylist() if batch is not None else []


def arrow_schema(store: Store, key: str) -> pa.Schema:
    """The columns of a published file."""
    with open_parquet(store, key) as file:
        return file.schema_arrow
