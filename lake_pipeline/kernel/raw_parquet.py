"""A Parquet file written anew without some of its rows."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lake_pipeline.kernel.source import Unreadable


def without_rows(path: Path, erased: Set[int], target: Path) -> int:
    """Write the file without the rows at these places, from 0; how many are left.

    Columns, their types and metadata, row groups and compression stay. A row group is in memory at a time.

    Raises:
        Unreadable: it has INT96 timestamps, of which Arrow cannot hold each.
    """
    left = start = 0
    places = np.fromiter(erased, np.int64, len(erased))
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        if old := [column.path for column in _columns(file) if column.physical_type == "INT96"]:
            raise Unreadable(f"column {old[0]} has INT96 timestamps, which cannot be written anew as they are")
        with pq.ParquetWriter(target, file.schema_arrow, compression=_compression(file)) as writer:
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group)
                stays = ~np.isin(np.arange(start, start + rows.num_rows), places)
                start += rows.num_rows
                if stays.any():
                    writer.write_table(rows.filter(pa.array(stays)))
                    left += int(stays.sum())
    return left


def _columns(file: pq.ParquetFile) -> list[pq.ColumnSchema]:
    return [file.schema.column(index) for index in range(len(file.schema))]


def _compression(file: pq.ParquetFile) -> str:
    """What the first column is compressed by; a file's columns nearly always share it."""
    metadata = file.metadata
    found = metadata.row_group(0).column(0).compression if metadata.num_row_groups and metadata.num_columns else "NONE"
    return "NONE" if found == "UNCOMPRESSED" else str(found)
