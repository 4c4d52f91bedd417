"""A Parquet file's format proved, and its rows in batches; a file is never held in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lake_pipeline.differences import admits
from lake_pipeline.expectation import Expectation
from lake_pipeline.kernel.parquet_types import kind_of
from lake_pipeline.kernel.source import Unreadable
from lake_pipeline.schemas import decimal_of

_MAGIC = b"PAR1"
# Magic, footer length and magic, with no footer between them.
_LEAST_BYTES = 12
_ROWS = 2**15
_READ_BYTES = 2**20


def check_format(path: Path) -> None:
    """The magic at both ends, and a footer that fits between them.

    Raises:
        Unreadable: this is no Parquet file, or not all of one.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(4)
        if size == 0:
            raise Unreadable("the file is empty")
        if head != _MAGIC:
            raise Unreadable(f"not Parquet: it starts with {head!r} and not with {_MAGIC!r}")
        if size < _LEAST_BYTES:
            raise Unreadable(f"too short for Parquet: {size} bytes")
        file.seek(-8, 2)
        length, tail = int.from_bytes(file.read(4), "little"), file.read(4)
    if tail != _MAGIC:
        raise Unreadable(f"Parquet that is cut off: it ends with {tail!r} and not with {_MAGIC!r}")
    if length > size - _LEAST_BYTES:
        raise Unreadable(f"Parquet that is cut off: its footer is to have {length:,} bytes, and the file has {size:,}")


def check_expected(path: Path, schema: pa.Schema, expect: Expectation) -> None:
    """The size and the columns that the declaration asks for.

    Raises:
        Unreadable: the file has others; the message names them all.
    """
    size = path.stat().st_size
    if size < expect.min_bytes:
        raise Unreadable(f"{size:,} bytes, and source.expect.min_bytes is {expect.min_bytes:,}")
    if expect.max_bytes is not None and size > expect.max_bytes:
        raise Unreadable(f"{size:,} bytes, and source.expect.max_bytes is {expect.max_bytes:,}")
    wrong = []
    for name, wanted in expect.columns.items():
        fields: Any = schema
        type_: Any = None
        for key in name.split("."):
            index = fields.get_field_index(key) if isinstance(fields, pa.Schema | pa.StructType) else -1
            type_ = fields.field(index).type if index >= 0 else None
            fields = type_
        kind = None if type_ is None else kind_of(type_)
        if type_ is None:
            wrong.append(f"no column {name}")
        elif kind is not None and not _passes(wanted, kind):
            wrong.append(f"{name} is {type_} and not {wanted}")
    if wrong:
        raise Unreadable(f"not the columns of source.expect: {', '.join(wrong)}")


def _passes(wanted: str, kind: str) -> bool:
    return kind == "int" or decimal_of(kind) is not None if wanted == "decimal" else admits(wanted, kind)


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """The file, errors told as one kind.

    Raises:
        FileNotFoundError: it is not there.
        Unreadable: it is not what a Parquet file must be; also raised for errors within the block.
    """
    check_format(path)
    try:
        with pq.ParquetFile(
            path,
            pre_buffer=False,
            buffer_size=_READ_BYTES,
            page_checksum_verification=True,
            coerce_int96_timestamp_unit="us",
        ) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if not path.exists():
            raise FileNotFoundError(str(path)) from None
        raise Unreadable(f"Parquet that cannot be read: {' '.join(str(error).split())}") from None


def batches(file: pq.ParquetFile, path: Path) -> Iterator[pa.RecordBatch]:
    """All rows in the file's order, pages decoded as they are needed.

    Raises:
        Unreadable: the file holds other rows than its footer says, or INT96 timestamps that no unit holds.
    """
    rows = 0
    coarse = _int96_columns(file)
    fine = _nanoseconds(path, coarse) if coarse else None
    for batch in file.iter_batches(batch_size=_ROWS):
        rows += batch.num_rows
        yield _with_nanoseconds(batch, next(fine), coarse) if fine else batch
    if rows != file.metadata.num_rows:
        raise Unreadable(f"its footer says {file.metadata.num_rows:,} rows, and it holds {rows:,}")


def _int96_columns(file: pq.ParquetFile) -> list[int]:
    """Places of the columns whose timestamps are INT96."""
    found = []
    for index in range(file.metadata.num_columns):
        column = file.schema.column(index)
        if column.physical_type == "INT96":
            if column.path != column.name:
                raise Unreadable(f"{column.path}: INT96 timestamps inside a list or object are not supported")
            found.append(file.schema_arrow.get_field_index(column.name))
    return found


def _nanoseconds(path: Path, columns: list[int]) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ_BYTES) as file:
        names = [file.schema_arrow.field(index).name for index in columns]
        yield from file.iter_batches(batch_size=_ROWS, columns=names)


def _with_nanoseconds(batch: pa.RecordBatch, fine: pa.RecordBatch, columns: list[int]) -> pa.RecordBatch:
    """The batch, its INT96 columns in nanoseconds where these hold more than its microseconds do.

    64 bits of nanoseconds reach from 1677 to 2262 only, and Arrow lets them run over; of microseconds, it cuts.
    """
    arrays: list[Any] = list(batch.columns)
    for index in columns:
        name = batch.schema.field(index).name
        coarse, exact = arrays[index], fine.column(name)
        present = np.asarray(coarse.is_valid())
        micros = np.asarray(coarse.cast(pa.int64()).fill_null(0))
        nanos = np.asarray(exact.cast(pa.int64()).fill_null(0))
        if not ((nanos - micros * 1000)[present] != 0).any():
            continue
        if (nanos // 1000 != micros)[present].any():
            raise Unreadable(f"{name}: INT96 timestamps with nanoseconds beside some before 1677 or after 2262")
        arrays[index] = exact
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
