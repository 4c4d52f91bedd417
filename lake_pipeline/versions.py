"""New versions that cannot take the place of old ones: gone, changed or unreadable. They are withdrawn, the rows stay.

Else one broken upload would keep every other new version of its manifest from the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import ObjectChanged, ObjectMissing, VersionsWithdrawn
from lake_pipeline.kernel.results import FileResult, Results
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import Replacement, Withdrawal
from lake_pipeline.store import StoredObject

_STAY = "the rows of the version before it stay"
_LOST = (ObjectMissing.__name__, ObjectChanged.__name__)


def judged_by_store(version: Replacement, there: StoredObject | None) -> Withdrawal | None:
    """Why a version cannot be read, by what lies where it should."""
    if there is None:
        why = f"{version.location} was deleted before it was converted; {_STAY}"
        return Withdrawal(version.id, "SUPERSEDED", "ObjectDeleted", why)
    # A copy that was moved may have an ETag of its own.
    if there.size != version.size or (version.location == version.key and there.etag != version.etag):
        why = f"{version.location} was overwritten before it was converted; {_STAY}"
        return Withdrawal(version.id, "SUPERSEDED", "ObjectChanged", why)
    return None


def withdraw_lost(lake: Lake, dataset: Dataset, manifest_ids: Iterable[str]) -> int:
    """Withdraw new versions of these manifests that are gone or were overwritten; how many. May be repeated.

    Raises:
        StoreError: one could not be looked at.
    """
    waiting = lake.ledger.replacements(dataset.name, list(manifest_ids))
    found = lake.store.heads([version.location for version in waiting])
    pairs = zip(waiting, found, strict=True)
    lost = [version for version, there in pairs if judged_by_store(version, there) is not None]
    look = _look_again(lake, {version.id for version in lost})
    manifests = sorted({version.manifest_id for version in lost})
    return sum(len(lake.ledger.withdraw(dataset.name, manifest_id, look)) for manifest_id in manifests)


def withdraw_failed(lake: Lake, dataset: Dataset, manifest_id: str, attempt: int, results: Results) -> None:
    """End an attempt whose engine could not read every new version: those are withdrawn.

    What cannot be read at all is QUARANTINED, and its raw file is set aside as any other.

    Raises:
        VersionsWithdrawn: there were such, and the attempt is over.
    """
    unread = {file.id: file for file in results.files if file.status != "SUCCEEDED"}
    if not unread or lake.ledger.manifest(dataset.name, manifest_id).committed_at is None:
        return
    look = _look_again(lake, {id_ for id_, file in unread.items() if file.error_class in _LOST})

    def judge(version: Replacement) -> Withdrawal | None:
        file = unread.get(version.id)
        return _quarantined(file) if file is not None and file.status == "QUARANTINED" else look(version)

    if withdrawn := lake.ledger.withdraw(dataset.name, manifest_id, judge, attempt=attempt):
        more = f" (and {len(withdrawn) - 1:,} more)" if len(withdrawn) > 1 else ""
        raise VersionsWithdrawn(f"{unread[withdrawn[0].id].key}: {withdrawn[0].error_message}{more}")


def _quarantined(file: FileResult) -> Withdrawal:
    return Withdrawal(file.id, "QUARANTINED", file.error_class or "Unreadable", f"{file.error_message}; {_STAY}")


def _look_again(lake: Lake, suspects: set[int]) -> Callable[[Replacement], Withdrawal | None]:
    """Judges the versions of these ids by what lies there at that moment, and no others."""

    def judge(version: Replacement) -> Withdrawal | None:
        if version.id not in suspects:
            return None
        (there,) = lake.store.heads([version.location])
        return judged_by_store(version, there)

    return judge
