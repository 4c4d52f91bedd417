"""A Parquet file's format proved, and its rows in batches; a file is never held in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake_pipeline.differences import admits
from lake_pipeline.expectation import Expectation
from lake_pipeline.kernel.parquet_types import kind_of
from lake_pipeline.kernel.source import TooLarge, Unreadable
from lake_pipeline.schemas import decimal_of

_MAGIC = b"PAR1"
# Magic, footer length and magic, with no footer between them.
_LEAST_BYTES = 12
_ROWS = 2**15
# What a batch may hold where rows are large, or where many of them name one large value of a dictionary.
_BATCH_BYTES = 2**28
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
    at_once = _rows_at_once(file, path)
    fine = _nanoseconds(path, coarse, at_once) if coarse else None
    for batch in file.iter_batches(batch_size=at_once):
        rows += batch.num_rows
        yield _with_nanoseconds(batch, next(fine), coarse) if fine else batch
    if rows != file.metadata.num_rows:
        raise Unreadable(f"its footer says {file.metadata.num_rows:,} rows, and it holds {rows:,}")


def count_rows(file: pq.ParquetFile, path: Path, limit: int) -> int:
    """The rows that the file holds, every page of it decoded.

    Raises:
        TooLarge: it unpacks to more than `limit` bytes, by its footer or in fact.
        Unreadable: as `batches` does.
    """
    unpacked = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
    if unpacked > limit:
        raise TooLarge(f"it unpacks to {unpacked:,} bytes, and source.max_unpacked_bytes is {limit:,}")
    rows = unpacked = 0
    for batch in batches(file, path):
        rows += batch.num_rows
        unpacked += batch.nbytes
        if unpacked > limit:
            raise TooLarge(f"it unpacks to more than source.max_unpacked_bytes, {limit:,}")
    return rows


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


def _rows_at_once(file: pq.ParquetFile, path: Path) -> int:
    """Rows of a batch that will fit into memory, however few bytes of the file say them."""
    metadata = file.metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    largest = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
    columns = {
        column.path_in_schema
        for group in groups
        for column in map(group.column, range(group.num_columns))
        if column.physical_type == "BYTE_ARRAY" and column.has_dictionary_page
    }
    if columns:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ_BYTES, read_dictionary=sorted(columns)) as coded:
            for number in range(len(groups)):
                for batch in coded.iter_batches(1, row_groups=[number], columns=sorted(columns)):
                    largest = max(largest, sum(map(_longest, batch.columns)))
                    break
    return min(_ROWS, max(1, _BATCH_BYTES // max(largest, 1)))


def _longest(values: pa.Array[Any]) -> int:
    """The bytes of a dictionary's longest value."""
    if not isinstance(values, pa.DictionaryArray):
        return 0
    return pc.max(pc.binary_length(values.dictionary)).as_py() or 0


def _nanoseconds(path: Path, columns: list[int], at_once: int) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ_BYTES) as file:
        names = [file.schema_arrow.field(index).name for index in columns]
        yield from file.iter_batches(batch_size=at_once, columns=names)


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
