"""Short ways to put files into a ledger and manifests through their life."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import FileOutcome, ListedObject, OutputFile, Registered
from lake_pipeline.manifests import Manifest

DATASET = "events"
LEASE = timedelta(minutes=5)
LANDED = datetime(2026, 2, 1, tzinfo=UTC)


def listed(key: str, etag: str = "v1", *, size: int = 10, group: str = "2026/week07", minute: int = 0) -> ListedObject:
    """An object as a listing shows it."""
    return ListedObject(key, size, etag, LANDED + timedelta(minutes=minute), group)


def land(ledger: Ledger, *objects: ListedObject | str) -> Registered:
    """Register objects, given whole or by key."""
    return ledger.register(DATASET, [item if isinstance(item, ListedObject) else listed(item) for item in objects])


def claim(ledger: Ledger, group: str = "2026/week07", max_files: int = 1000) -> Manifest:
    """A manifest of what waits in a group."""
    manifest = ledger.claim_manifest(DATASET, group, max_files, 10**12)
    assert manifest is not None
    return manifest


def begin(ledger: Ledger, manifest_id: str, worker: str = "w1", lease: timedelta = LEASE) -> int:
    """Begin an attempt."""
    return ledger.begin_attempt(DATASET, manifest_id, worker, lease)


def outcomes(ledger: Ledger, manifest_id: str, **but: FileOutcome) -> list[FileOutcome]:
    """SUCCEEDED for every file of a manifest; `but` gives others by key, with any id."""
    found = []
    for file in ledger.manifest_files(DATASET, manifest_id):
        other = but.get(file.key)
        found.append(
            FileOutcome(file.id, "SUCCEEDED", rows_read=3, rows_written=3)
            if other is None
            else FileOutcome(file.id, other.status, error_class=other.error_class, error_message=other.error_message)
        )
    return found


def commit(ledger: Ledger, manifest_id: str, attempt: int, paths: Sequence[str] = (), **but: FileOutcome) -> list[str]:
    """Commit an attempt with these outputs; returns the leftovers."""
    files = outcomes(ledger, manifest_id, **but)
    outputs = [OutputFile(path, 3, 100) for path in paths]
    return ledger.commit_manifest(DATASET, manifest_id, attempt, files=files, outputs=outputs)


def convert(ledger: Ledger, manifest_id: str, paths: Sequence[str] = (), **but: FileOutcome) -> list[str]:
    """Begin and commit."""
    return commit(ledger, manifest_id, begin(ledger, manifest_id), paths, **but)


def states(ledger: Ledger) -> dict[tuple[str, str], str]:
    """(key, ETag) → status of every file."""
    return {(row.s3_key, row.etag): row.status for row in ledger.files(DATASET)}


def state_of(ledger: Ledger, manifest_id: str) -> str:
    """The manifest's state."""
    return ledger.manifest(DATASET, manifest_id).state
