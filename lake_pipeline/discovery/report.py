"""S3 Inventory reports: a manifest and its files, CSV, Parquet or ORC, read in bounded memory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote_plus, urlsplit

import msgspec
import pyarrow as pa
from pyarrow import csv, orc, parquet

from lake_pipeline.errors import InventoryInvalid, ObjectMissing, ReportAwaited
from lake_pipeline.scratch import scratch_folder
from lake_pipeline.store import Store, StoredObject

# As many objects are in memory, and in one transaction of the ledger.
ROWS = 10_000
# What a report must have, beside the two columns of a report on versions, as the formats' names have it in common.
_NEEDED = ("key", "size", "lastmodifieddate", "etag")
_VERSIONS = ("islatest", "isdeletemarker")
_NEWEST = re.compile(r"/\d{4}-\d\d-\d\dT\d\d-\d\dZ/manifest\.json$")


@dataclass(frozen=True)
class ReportFile:
    """One data file: its key in the report's bucket, and its MD5 in hexadecimal."""

    key: str
    md5: str


@dataclass(frozen=True)
class Report:
    """What a manifest says; `bucket` is the one reported on, `created_at` when S3 began to look at it."""

    url: str
    bucket: str
    created_at: datetime
    format: Literal["CSV", "ORC", "Parquet"]
    columns: tuple[str, ...]
    files: tuple[ReportFile, ...]


class _File(msgspec.Struct):
    key: str
    md5: str = msgspec.field(name="MD5checksum")


class _Manifest(msgspec.Struct, rename="camel"):
    source_bucket: str
    creation_timestamp: str
    file_format: Literal["CSV", "ORC", "Parquet"]
    file_schema: str
    files: list[_File]


def find_report(url: str) -> Report:
    """The report of a manifest.json, or the newest of a folder, which is an inventory's own: `…/bucket/config-id/`.

    Raises:
        InventoryInvalid: it is no manifest, or not the one that its checksum is of.
        ReportAwaited: the folder has none, as before S3 has written the first one.
        StoreError: it cannot be read.
    """
    bucket, key = _place(url)
    store = Store(f"s3://{bucket}")
    if not key.endswith(".json"):
        folder = key.rstrip("/") + "/"
        found = [item.key for page in store.list(folder) for item in page if _NEWEST.search(f"/{item.key}")]
        if not found:
            raise ReportAwaited(
                f"s3://{bucket}/{folder} has no folder such as 2026-02-01T01-00Z with a manifest.json."
                " S3 takes up to 48 hours to write the first one."
            )
        key = max(found)
    body = store.get(key)
    try:
        checksum = store.get(key.removesuffix("json") + "checksum").decode(errors="replace").strip()
    except ObjectMissing as error:
        # S3 writes it last.
        raise InventoryInvalid(
            f"s3://{bucket}/{key} has no manifest.checksum beside it, so it is not complete"
        ) from error
    if checksum != hashlib.md5(body, usedforsecurity=False).hexdigest():
        raise InventoryInvalid(f"s3://{bucket}/{key} is not the manifest that manifest.checksum was made of")
    return parse_manifest(body, f"s3://{bucket}/{key}")


def parse_manifest(body: bytes, url: str) -> Report:
    """What a manifest.json says (Amazon S3 Inventory, S3 User Guide).

    Raises:
        InventoryInvalid: it is none, or its columns are not enough.
    """
    try:
        manifest = msgspec.json.decode(body, type=_Manifest)
        created = datetime.fromtimestamp(int(manifest.creation_timestamp) / 1000, UTC)
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        raise InventoryInvalid(f"{url}: {error}") from error
    # CSV has a list of names, ORC struct<key:string,…>, Parquet message s3.inventory { required binary key (UTF8); … }
    columns = tuple(_plain(name) for name in re.findall(r"\w+", manifest.file_schema))
    if missing := [name for name in _NEEDED if name not in columns]:
        raise InventoryInvalid(
            f"{url} has no {', '.join(missing)}; give the inventory the optional fields Size, LastModifiedDate and ETag"
        )
    files = tuple(ReportFile(file.key, file.md5) for file in manifest.files)
    return Report(url, manifest.source_bucket, created, manifest.file_format, columns, files)


def read_objects(report: Report, file: ReportFile, skip: int = 0) -> Iterator[tuple[int, list[StoredObject]]]:
    """The current objects of a file, in lists of up to 10,000 rows, each with the number of rows read so far.

    `skip` passes over rows that were read before. Keys are from the bucket's root.

    Raises:
        InventoryInvalid: the file is not the one that the manifest is of, or cannot be read.
        StoreError: it is gone.
    """
    store = Store(f"s3://{_place(report.url)[0]}")
    with scratch_folder() as scratch:
        path = store.fetch(file.key, scratch)
        with path.open("rb") as data:
            found = hashlib.file_digest(data, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found != file.md5:
            raise InventoryInvalid(f"{report.url}: {file.key} has the MD5 {found}, the manifest says {file.md5}")
        done = 0
        try:
            for batch in _batches(report, path):
                for start in range(max(0, skip - done), batch.num_rows, ROWS):
                    part = batch.slice(start, ROWS)
                    yield done + start + part.num_rows, list(_objects(part, encoded=report.format == "CSV"))
                done += batch.num_rows
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InventoryInvalid(f"{report.url}: {file.key}: {error}") from error


def _batches(report: Report, path: Path) -> Iterator[pa.RecordBatch]:
    if report.format == "Parquet":
        with parquet.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if _plain(name) in _NEEDED + _VERSIONS]
            yield from map(_renamed, file.iter_batches(ROWS, columns=columns))
    elif report.format == "ORC":
        file = orc.ORCFile(path)
        columns = [name for name in file.schema.names if _plain(name) in _NEEDED + _VERSIONS]
        for stripe in range(file.nstripes):
            yield _renamed(file.read_stripe(stripe, columns))
    else:
        with pa.input_stream(path, compression="gzip") as unpacked:
            if not unpacked.read(1):
                return  # which Arrow would not take for CSV
        with pa.input_stream(path, compression="gzip") as unpacked:
            yield from csv.open_csv(
                unpacked,
                csv.ReadOptions(column_names=report.columns),
                convert_options=csv.ConvertOptions(
                    column_types=dict.fromkeys(report.columns, pa.string()),
                    include_columns=[name for name in report.columns if name in _NEEDED + _VERSIONS],
                ),
            )


def _objects(batch: pa.RecordBatch, *, encoded: bool) -> Iterator[StoredObject]:
    rows = batch.to_pydict()
    always, never = [True] * batch.num_rows, [False] * batch.num_rows
    columns = (rows[name] for name in _NEEDED)
    for key, size, modified, etag, latest, marker in zip(
        *columns, rows.get("islatest", always), rows.get("isdeletemarker", never), strict=True
    ):
        if _true(latest) and not _true(marker):
            name = unquote_plus(key, errors="strict") if encoded else key
            yield StoredObject(name, int(size), etag.strip('"'), _moment(modified))


def _true(value: Any) -> bool:
    return value in (True, "true")


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _renamed(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.rename_columns([_plain(name) for name in batch.schema.names])


def _plain(name: str) -> str:
    """A column's name as all formats have it: ETag, e_tag."""
    return name.replace("_", "").lower()


def _place(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or not parts.path.strip("/"):
        raise InventoryInvalid(f"{url} is neither s3://bucket/…/manifest.json nor the folder of an inventory")
    return parts.netloc, parts.path.removeprefix("/")
