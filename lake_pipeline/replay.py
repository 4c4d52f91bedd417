"""Replaying quarantine: what was set aside is converted again, each record once.

A file that was set aside whole goes into a new manifest. A record goes back with its manifest, whose rows are replaced.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from lake_pipeline.dataset import Dataset
from lake_pipeline.discovery.listing import listed
from lake_pipeline.errors import NothingMatched, ObjectChanged, ObjectMissing
from lake_pipeline.guard import check_ledger
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import SetAsideFile
from lake_pipeline.store import Store, StoredObject


@dataclass(frozen=True)
class Replay:
    """What a replay does: `files` were set aside whole, `manifests` are written anew for `records` of theirs.

    `manifests` maps each to a key of its own that has such records. `mended` are those of the files that lie in the
    store changed: they land again, as new versions. `everything` is set where neither key nor manifest was named.
    """

    files: tuple[str, ...]
    manifests: dict[str, str]
    records: int
    mended: tuple[SetAsideFile, ...]
    everything: bool


def plan_replay(lake: Lake, dataset: Dataset, *, key: str | None = None, manifest: str | None = None) -> Replay:
    """What would be replayed for a key, a manifest, or everything where neither is named; nothing is changed.

    Raises:
        NothingMatched: nothing of that is set aside.
    """
    found = list(lake.ledger.set_aside(dataset.name, key=key, manifest=manifest))
    if not found:
        named = f" with key {key}" if key else f" with manifest {manifest}" if manifest else ""
        raise NothingMatched(f"{dataset.name} has nothing in quarantine{named}")
    with ThreadPoolExecutor(16) as pool:
        changed = list(pool.map(lambda file: _is_mended(lake.store, file), found))
    partly = [file for file in found if file.status == "SUCCEEDED"]
    return Replay(
        files=tuple(file.key for file in found if file.status == "QUARANTINED"),
        manifests={file.manifest_id: file.key for file in partly},
        records=sum(file.rows_quarantined for file in partly),
        mended=tuple(file for file, mended in zip(found, changed, strict=True) if mended),
        everything=key is None and manifest is None,
    )


def replay(lake: Lake, dataset: Dataset, plan: Replay) -> None:
    """Send what was planned back to PENDING; the next run converts it. May be repeated.

    Raises:
        LedgerMismatch: the ledger is not this lake's, or is older than it.
        LedgerError: a manifest of it is being converted.
        ObjectChanged: a file was mended where it lies, and another has landed under its key.
    """
    check_ledger(lake, [dataset])
    ledger = lake.ledger
    # A mended file is a new version, which takes the place of the old one in its manifest.
    landed = [listed(dataset, _land_again(lake.store, file)) for file in plan.mended]
    ledger.register(dataset.name, landed)
    for key in plan.manifests.values():
        ledger.requeue(dataset.name, key=key)
    keys = sorted(set(plan.files) - {item.key for item in landed})
    if keys or plan.everything:
        with suppress(NothingMatched):  # all were mended, or sent back before
            ledger.requeue(dataset.name, key=None if plan.everything else keys, status="QUARANTINED")


def _is_mended(store: Store, file: SetAsideFile) -> bool:
    try:
        return not store.is_copy(file.location, file.size, file.etag)
    except ObjectMissing:
        return False  # its next attempt fails, and says so


def _land_again(store: Store, file: SetAsideFile) -> StoredObject:
    """Put a file that was mended in quarantine or in the archive back to where it first landed."""
    if file.location == file.key:
        return store.head(file.key)
    if store.exists(file.key):
        raise ObjectChanged(f"{file.location} was mended, and {file.key} has landed anew; remove one of the two")
    return store.move(file.location, file.key)
