"""What the ledger takes and gives where rows are erased."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lake_pipeline.ledger.models import FileStatus


@dataclass(frozen=True)
class ErasureRow:
    """A request to erase rows; `last_file_id` is the last file that it concerns, `ended_at` None while it goes on."""

    id: int
    dataset: str
    predicate: str
    predicate_sha256: str
    raw: bool
    requested_by: str
    last_file_id: int
    begun_at: datetime
    ended_at: datetime | None
    rows_erased: int | None
    report_key: str | None
    report_sha256: str | None


@dataclass(frozen=True)
class ErasureStep:
    """What an erasure rewrote of a manifest: documents of its outputs, its rows by file, and its raw files."""

    manifest_id: str
    attempt: int
    outputs: list[dict[str, Any]]
    files: list[dict[str, Any]]
    raw: list[dict[str, Any]]
    done_at: datetime


@dataclass(frozen=True)
class RawFileToSearch:
    """A raw file that may hold records of erased rows; `manifest_id` is empty where it is in none."""

    id: int
    key: str
    size: int
    manifest_id: str
    status: FileStatus
    archived_key: str | None
    rows_written: int


@dataclass(frozen=True)
class RewrittenRaw:
    """An archived file without the records that were erased, under its new key; of 0 bytes where none is left."""

    id: int
    key: str
    before: str
    before_etag: str
    after: str
    etag: str
    size: int
    records_erased: int


@dataclass(frozen=True)
class NotSearched:
    """What an erasure could not look into."""

    quarantined_files: int
    quarantined_records: int
    waiting_files: int
    imported_files: int
