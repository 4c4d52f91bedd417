"""What the ledger takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from lake_pipeline.manifests import ManifestFile

FileStatus = Literal["PENDING", "PROCESSING", "SUCCEEDED", "FAILED", "QUARANTINED", "SUPERSEDED"]
ManifestState = Literal["PLANNED", "RUNNING", "COMMITTED", "FAILED"]
FILE_STATUSES: tuple[FileStatus, ...] = (
    "PENDING",
    "PROCESSING",
    "SUCCEEDED",
    "FAILED",
    "QUARANTINED",
    "SUPERSEDED",
)


@dataclass(frozen=True)
class ListedObject:
    """An object that the store holds now, with the landing group of its key."""

    key: str
    size: int
    etag: str
    last_modified: datetime
    landing_group: str


@dataclass(frozen=True)
class Registered:
    """How many of the objects were new versions, and how many the ledger knew."""

    new: int
    known: int


@dataclass(frozen=True)
class GroupBacklog:
    """The files of a landing group that wait for a manifest; `oldest` is when the first was discovered."""

    landing_group: str
    files: int
    bytes: int
    oldest: datetime


@dataclass(frozen=True)
class BacklogSummary:
    """Files PENDING or PROCESSING of a dataset; `oldest` is when the first was discovered."""

    files: int
    bytes: int
    oldest: datetime | None


@dataclass(frozen=True)
class FileTotals:
    """Files of a dataset in one state, and their bytes."""

    dataset: str
    status: FileStatus
    files: int
    bytes: int


@dataclass(frozen=True)
class PendingWork:
    """What is left to do: files to plan, files to be tried again, manifests due, manifests running."""

    claimable: int
    retryable: int
    due: int
    running: int

    @property
    def done(self) -> bool:
        """Nothing is left."""
        return not (self.claimable or self.retryable or self.due or self.running)


@dataclass(frozen=True)
class DueManifest:
    """A manifest to be begun, and the number that its attempt will have."""

    manifest_id: str
    landing_group: str
    next_attempt: int
    files: int
    bytes: int


@dataclass(frozen=True)
class ManifestRow:
    """The ledger's row of a manifest; `failures` counts failed attempts since it was last planned.

    `engine_attempt` is the attempt whose staging the engine's run `engine_run_id` writes, as long as something may come
    of it; without a run's id, the run was about to be started.
    `quarantined_records` is the key of the document with the records that the last commit set aside, if it did.
    """

    dataset: str
    manifest_id: str
    landing_group: str
    state: ManifestState
    attempt: int
    failures: int
    files: int
    bytes: int
    worker: str | None
    lease_expires_at: datetime | None
    engine_run_id: str | None
    engine_attempt: int | None
    schema_version: int | None
    error_message: str | None
    planned_at: datetime
    started_at: datetime | None
    committed_at: datetime | None
    metrics: dict[str, Any] | None
    quarantined_records: str | None


@dataclass(frozen=True)
class ManifestSummary:
    """A manifest in short: `rows` are those in the table, `changed_at` is when it came into its state."""

    manifest_id: str
    state: ManifestState
    attempt: int
    files: int
    rows: int
    changed_at: datetime
    error_message: str | None


@dataclass(frozen=True)
class FileRow:
    """The ledger's row of a raw file."""

    id: int
    dataset: str
    s3_key: str
    etag: str
    size: int
    last_modified: datetime
    landing_group: str
    status: FileStatus
    manifest_id: str | None
    glue_job_run_id: str | None
    retry_count: int
    error_class: str | None
    error_message: str | None
    discovered_at: datetime
    claimed_at: datetime | None
    processed_at: datetime | None
    rows_read: int | None
    rows_written: int | None
    rows_rescued: int | None
    rows_quarantined: int | None
    rows_dropped: int | None
    rows_exploded: int | None
    rows_erased: int | None
    archived_key: str | None


@dataclass(frozen=True)
class FileMetadata:
    """What became of a raw file; `output_paths` are all files of its manifest where rows of many share them."""

    file_id: int
    source_path: str
    output_paths: list[str] | None
    status: FileStatus
    started_at: datetime | None
    ended_at: datetime | None
    record_count: int | None
    file_size_bytes: int
    error_message: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class WaitingFile:
    """A raw file that the next runs convert; `location` is where it lies now."""

    id: int
    key: str
    etag: str
    size: int
    location: str
    landing_group: str


@dataclass(frozen=True)
class SetAsideFile:
    """A raw file that was quarantined whole, or that lost records (`rows_quarantined`) to quarantine.

    `location` is where it lies now.
    """

    key: str
    etag: str
    size: int
    location: str
    status: FileStatus
    manifest_id: str
    rows_quarantined: int
    error_class: str | None
    error_message: str | None
    processed_at: datetime | None


@dataclass(frozen=True)
class FileOutcome:
    """What an attempt made of one raw file."""

    id: int
    status: Literal["SUCCEEDED", "FAILED", "QUARANTINED"]
    rows_read: int = 0
    rows_written: int = 0
    rows_rescued: int = 0
    rows_quarantined: int = 0
    rows_dropped: int = 0
    rows_exploded: int = 0
    rows_erased: int = 0
    error_class: str | None = None
    error_message: str | None = None


@dataclass(frozen=True)
class OutputFile:
    """A curated file: its key in the store, its rows and its bytes.

    Where one raw file becomes one file, `file_id` is that of the raw file, and `staged_path` is where the content lies
    that the key gets once it is committed.
    """

    path: str
    rows: int
    bytes: int
    file_id: int | None = None
    staged_path: str | None = None


@dataclass(frozen=True)
class ShownPartition:
    """A Hive partition such as `year=2026/mode=bike`: its committed files, their hash, whether a catalogue has it."""

    partition: str
    files: list[str]
    listing: str
    is_shown: bool


@dataclass(frozen=True)
class ArchivableFile:
    """A raw file that may be moved out of the source prefix; `location` is where it lies now."""

    id: int
    key: str
    etag: str
    size: int
    status: FileStatus
    location: str


@dataclass(frozen=True)
class Replacement:
    """A new version that waits in a committed manifest to replace an older one's rows; `location`: where it lies."""

    id: int
    manifest_id: str
    key: str
    etag: str
    size: int
    location: str


@dataclass(frozen=True)
class Withdrawal:
    """What becomes of a new version that cannot be converted, and why."""

    id: int
    status: Literal["SUPERSEDED", "QUARANTINED"]
    error_class: str
    error_message: str


@dataclass(frozen=True)
class SchemaChange:
    """The schema that an attempt wants next; `expected_version` is what it started from, 0 where there was none."""

    expected_version: int
    columns: Any
    changes: Any


@dataclass(frozen=True)
class SchemaVersion:
    """A version of a dataset's schema, and the manifest that brought it."""

    dataset: str
    version: int
    columns: Any
    changes: Any
    manifest_id: str
    created_at: datetime


@dataclass(frozen=True)
class Requeued:
    """How many files, and how many whole manifests, went back to be done again."""

    files: int
    manifests: int


@dataclass(frozen=True)
class RequeuePlan:
    """What would go back: how many files, which whole manifests, and of the files those without rows in the lake.

    `outputs`, `rows` and `bytes` count the curated files that would be replaced.
    """

    files: int
    manifests: tuple[str, ...]
    loose: tuple[ManifestFile, ...]
    outputs: int
    rows: int
    bytes: int
