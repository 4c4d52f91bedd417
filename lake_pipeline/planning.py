"""Planning: which waiting files become manifests, and when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from lake_pipeline.dataset import Batch, Dataset
from lake_pipeline.failpoints import failpoint
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import GroupBacklog
from lake_pipeline.manifests import Manifest, write_manifest
from lake_pipeline.store import Store

BACKOFF = timedelta(minutes=1)


def fills(files: int, bytes_: int, batch: Batch) -> bool:
    """Whether as much as this makes a full manifest."""
    return files >= batch.max_files or bytes_ >= batch.max_bytes


def due_groups(backlogs: Iterable[GroupBacklog], batch: Batch, now: datetime, flush: bool) -> list[GroupBacklog]:
    """Groups that fill a manifest, or whose oldest file has waited long enough, or all of them; oldest first."""
    due = [
        group
        for group in backlogs
        if group.files and (flush or fills(group.files, group.bytes, batch) or now - group.oldest >= batch.max_wait)
    ]
    return sorted(due, key=lambda group: (group.oldest, group.landing_group))


def plan(
    dataset: Dataset,
    ledger: Ledger,
    store: Store,
    *,
    now: datetime,
    flush: bool = False,
    max_manifests: int,
    backoff: timedelta = BACKOFF,
    keys: list[str] | None = None,
) -> list[Manifest]:
    """Claim manifests until no group is due or there are `max_manifests`, and put their documents into the store.

    `flush` plans what is there without waiting for more; failed files wait `backoff`, doubled with each failure.
    With `keys`, other files are left alone.

    Raises:
        LedgerError, StoreError: what was planned before is kept; `current_manifest` writes a missing document.
    """
    planned: list[Manifest] = []
    ledger.revive_failed(dataset.name, dataset.batch.max_retries, backoff, keys=keys)
    progress = True
    while progress:
        progress = False
        for group in due_groups(ledger.backlog(dataset.name, keys=keys), dataset.batch, now, flush):
            claimed = _claim_full(dataset, ledger, store, group, max_manifests - len(planned), keys)
            planned += claimed
            progress = progress or bool(claimed)
    return planned


def _claim_full(
    dataset: Dataset, ledger: Ledger, store: Store, group: GroupBacklog, limit: int, keys: list[str] | None
) -> list[Manifest]:
    """One manifest of a due group, and more as long as what is left of it fills one."""
    batch, claimed = dataset.batch, list[Manifest]()
    files, bytes_ = group.files, group.bytes
    while len(claimed) < limit and (not claimed or fills(files, bytes_, batch)):
        manifest = ledger.claim_manifest(dataset.name, group.landing_group, batch.max_files, batch.max_bytes, keys=keys)
        if manifest is None:
            break
        failpoint("planning.claimed")
        write_manifest(store, dataset, manifest)
        failpoint("planning.planned")
        claimed.append(manifest)
        files, bytes_ = files - len(manifest.files), bytes_ - manifest.bytes
    return claimed


def current_manifest(ledger: Ledger, store: Store, dataset: Dataset, manifest_id: str) -> Manifest:
    """The manifest as it is now, its document written anew: files are replaced, set aside and moved between attempts.

    Raises:
        LedgerError: there is none of that id.
    """
    row = ledger.manifest(dataset.name, manifest_id)
    files = tuple(ledger.manifest_files(dataset.name, manifest_id))
    manifest = Manifest(dataset.name, manifest_id, row.landing_group, files)
    write_manifest(store, dataset, manifest)
    return manifest
