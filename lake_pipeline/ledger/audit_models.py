"""What the ledger gives to an audit."""

from __future__ import annotations

from dataclasses import dataclass

from lake_pipeline.ledger.models import FileStatus


@dataclass(frozen=True)
class KnownVersion:
    """A version of a raw file; `is_current` of the newest of its key that was not superseded, or else of the newest."""

    id: int
    key: str
    etag: str
    size: int
    status: FileStatus
    manifest_id: str | None
    archived_key: str | None
    is_current: bool


@dataclass(frozen=True)
class KnownOutput:
    """A curated file that the ledger lists; one that is not committed may be in the store, and no reader is told of it.

    `staged_path` is where the content lies that a committed one is still to get.
    """

    path: str
    manifest_id: str
    attempt: int
    rows: int
    bytes: int
    committed: bool
    staged_path: str | None


@dataclass(frozen=True)
class InvariantViolation:
    """A breach of what must hold: its name among INVARIANTS, the file's key or manifest's id, and what is there."""

    invariant: str
    subject: str
    detail: str
