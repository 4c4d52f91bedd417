"""What becomes of a file, by what the store, the old system and the ledger say of it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lake_pipeline.importing.old_files import OldFile
from lake_pipeline.ledger.audit_models import KnownVersion
from lake_pipeline.store import StoredObject

Verdict = Literal["done", "known", "waiting", "changed", "new", "missing"]
VERDICTS: dict[Verdict, str] = {
    "done": "done by the old system, and done here",
    "known": "in the ledger already, and left as they are there",
    "waiting": "not done by the old system, and PENDING here",
    "changed": "landed anew since the old system did them, and PENDING here",
    "new": "unknown to the old system, and PENDING here",
    "missing": "in the old table, and not in the store",
}


@dataclass(frozen=True)
class Found:
    """An object under the key where it landed; `archived_key` is where it lies now, None: there."""

    object: StoredObject
    archived_key: str | None = None


def judge(
    found: Found | None,
    old: OldFile | None,
    known: KnownVersion | None,
    is_copy: Callable[[StoredObject, int, str], bool],
) -> Verdict:
    """What becomes of one key; `known` is its current version in the ledger.

    An ETag decides, where the old system kept it; where not, whether the object landed before the file was done.
    """
    if known is not None and known.status != "SUPERSEDED" and not _waits(known):
        return "known"
    if found is None:
        return "missing"
    if old is None:
        return "new"
    if not old.done:
        # What is in the archive and not done is not where it would be found.
        return "waiting" if found.archived_key is None else "missing"
    if old.etag is not None:
        same = old.etag == found.object.etag
        # What lies in the archive is a copy, which may have an ETag of its own.
        copied = found.archived_key is not None and is_copy(found.object, found.object.size, old.etag)
        return "done" if same or copied else "changed"
    if found.archived_key is None and old.done_at is not None and found.object.last_modified > old.done_at:
        return "changed"
    return "done"


def _waits(known: KnownVersion) -> bool:
    return known.status == "PENDING" and known.manifest_id is None
