"""A dataset's table for a training job: a pyarrow dataset of its committed files, pruned to partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import QueryError
from lake_pipeline.kernel.arrow_types import arrow_type
from lake_pipeline.lake import open_lake
from lake_pipeline.ledger.models import OutputFile
from lake_pipeline.output import partition_keys
from lake_pipeline.schemas import Schema
from lake_pipeline.settings import Settings, load_settings
from lake_pipeline.store.filesystem import S3FileSystem

if TYPE_CHECKING:
    from lake_pipeline.store import Store


def open_table(name: str, where: Any = None, settings: Settings | None = None) -> pads.FileSystemDataset:
    """The rows of a dataset's table, with the columns of `lake query`; a column that older files lack is NULL there.

    `where` is a pyarrow compute expression, or tuples as `pyarrow.parquet` takes for `filters`. Files of partitions
    that it rules out are left out; rows of the others are all there. To have a condition on other columns filter rows,
    hand it to `to_table` or `scanner` as their `filter`.

    The list of files is that of now: a replay deletes files that it replaces, so open the table anew for a new epoch.

    Raises:
        UnknownDataset: none of that name is declared.
        QueryError: nothing of it has been converted yet, or its files are JSON.
    """
    with open_lake(settings or load_settings()) as lake:
        dataset, schema = lake.dataset(name), lake.schema(name)
        outputs, store = lake.ledger.committed_outputs(name), lake.store
    if dataset.output.format == "json":
        raise QueryError(f"{name} is kept as JSON lines, not as Parquet; an extract of it (`extracts:`) is Parquet")
    if not schema.version:
        raise QueryError(f"nothing of {name} has been converted yet")
    table = _dataset_of(store, dataset, arrow_schema(dataset, schema), outputs)
    if where is None:
        return table
    expression = where if isinstance(where, pads.Expression) else pq.filters_to_expression(where)
    chosen = list(table.get_fragments(expression))
    return pads.FileSystemDataset(chosen, table.schema, table.format, table.filesystem)


def arrow_schema(dataset: Dataset, schema: Schema) -> pa.Schema:
    """The registry's columns in order, the platform's own, and Hive keys that are computed; pure."""
    keys = partition_keys(dataset.output.partition_by)
    # Folder names are text: a column that names folders is read from them, spelled as they spell it.
    folders = {key.lower(): key for key, part, _ in keys if part is None}
    fields = [
        pa.field(folders[column.name.lower()], pa.string())
        if column.name.lower() in folders
        else pa.field(column.name, arrow_type(column.type))
        for column in schema.columns
    ]
    fields += [pa.field("_source_file", pa.string()), pa.field("_rescued", pa.string())]
    names = {field.name for field in fields}
    fields += [pa.field(key, pa.int64() if part else pa.string()) for key, part, _ in keys if key not in names]
    return pa.schema(fields)


def _dataset_of(store: Store, dataset: Dataset, schema: pa.Schema, outputs: list[OutputFile]) -> pads.FileSystemDataset:
    if store.root:
        filesystem, root = pafs.LocalFileSystem(), str(store.root)
    else:
        filesystem, root = pafs.PyFileSystem(pafs.FSSpecHandler(S3FileSystem())), store.url.removeprefix("s3://")
    names = [key for key, _, _ in partition_keys(dataset.output.partition_by)]
    hive = pads.partitioning(pa.schema([schema.field(name) for name in names]), flavor="hive")
    file_format = pads.ParquetFileFormat()
    fragments = [
        file_format.make_fragment(
            f"{root}/{output.path}", filesystem, hive.parse(output.path.removeprefix(dataset.output.prefix))
        )
        for output in outputs
    ]
    return pads.FileSystemDataset(fragments, schema, file_format, filesystem)
