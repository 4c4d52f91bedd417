"""What the published files themselves say: how many rows, and the first of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lake_pipeline.kernel.json_lines import SUFFIX
from lake_pipeline.store import Store

_AT_ONCE = 16


def open_parquet(store: Store, key: str) -> pq.ParquetFile:
    """A published file; of one in S3 only what is looked at is downloaded."""
    return pq.ParquetFile(store.local_path(key) or store.open(key))


def count_rows(store: Store, keys: Iterable[str]) -> int:
    """Rows by the footers of Parquet files and the lines of others."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return sum(pool.map(lambda key: _rows(store, key), keys))


def _rows(store: Store, key: str) -> int:
    if key.endswith(SUFFIX):
        return sum(1 for _ in store.lines(key))
    with open_parquet(store, key) as file:
        return int(file.metadata.num_rows)


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
