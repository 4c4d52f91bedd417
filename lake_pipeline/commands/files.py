"""`lake files`: what became of every raw file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from lake_pipeline.commands.options import Json, MaybeDatasetName
from lake_pipeline.dataset import Dataset
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.ledger.models import FILE_STATUSES, FileRow, FileStatus
from lake_pipeline.reports import note, print_json_lines, print_table
from lake_pipeline.settings import load_settings

_SHOWN = (
    "s3_key",
    "status",
    "rows_read",
    "rows_written",
    "rows_rescued",
    "rows_quarantined",
    "manifest_id",
    "error_message",
    "rows_dropped",
)
_MORE = (
    "rows_exploded",
    "rows_erased",
    "dataset",
    "etag",
    "size",
    "landing_group",
    "retry_count",
    "archived_key",
    "last_modified",
    "discovered_at",
    "claimed_at",
    "processed_at",
)

_METADATA = (
    "file_id",
    "source_path",
    "output_path",
    "status",
    "started_at",
    "ended_at",
    "record_count",
    "file_size_bytes",
    "error_message",
    "created_at",
    "updated_at",
)

Status = Annotated[
    FileStatus | None,
    typer.Option(case_sensitive=False, metavar="STATUS", help=f"Only files in this state: {', '.join(FILE_STATUSES)}."),
]


def files(
    dataset: MaybeDatasetName = None,
    status: Status = None,
    key: Annotated[str | None, typer.Option(help="Only this key, in each of its versions.")] = None,
    metadata: Annotated[
        bool, typer.Option("--metadata", help="A record of each file: source, output, times, records, size, error.")
    ] = False,
    json: Json = False,
) -> None:
    """List the ledger's rows: every raw file, its state, its rows and why it is not in the table.

    JSON: one object a line, with times, sizes and places that the table leaves out; with --metadata just file_id,
    source_path, output_path (a list where rows of many files share their outputs), status, started_at, ended_at,
    record_count, file_size_bytes, error_message, created_at and updated_at.
    """
    with open_lake(load_settings()) as lake:
        if metadata:
            records = _metadata(lake, lake.chosen([dataset] if dataset else None), status, key)
            if json:
                print_json_lines(records)
            elif not print_table(_METADATA, (list(record.values()) for record in records)):
                note("no file matches")
            return
        names = [found.name for found in lake.chosen([dataset] if dataset else None)]
        rows = (row for name in names for row in lake.ledger.files(name, status=status, key=key))
        if json:
            print_json_lines({field: getattr(row, field) for field in (*_SHOWN, *_MORE)} for row in rows)
        elif not print_table(_SHOWN, _cells(rows)):
            note("no file matches")


def _cells(rows: Iterator[FileRow]) -> Iterator[list[Any]]:
    for row in rows:
        yield [getattr(row, field) for field in _SHOWN]


def _metadata(
    lake: Lake, datasets: list[Dataset], status: FileStatus | None, key: str | None
) -> Iterator[dict[str, Any]]:
    for dataset in datasets:
        for row in lake.ledger.file_metadata(dataset.name, status=status, key=key):
            paths = row.output_paths
            output = paths[0] if paths and dataset.output.files == "one_to_one" else paths
            yield {field: output if field == "output_path" else getattr(row, field) for field in _METADATA}
