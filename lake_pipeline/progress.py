"""The pass that keeps a dataset moving: finish what was interrupted, then say which manifests are to be run."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from lake_pipeline.archiving import archive
from lake_pipeline.catalog.contract import catalog_of
from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import ErasureUnfinished
from lake_pipeline.guard import check_ledger
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import DueManifest
from lake_pipeline.notices.telling import tell
from lake_pipeline.planning import BACKOFF, plan
from lake_pipeline.publishing import clean, release
from lake_pipeline.quarantine import clear_records
from lake_pipeline.recording import record_commits
from lake_pipeline.staging import clear_staging
from lake_pipeline.versions import withdraw_lost


def finish_interrupted(lake: Lake, dataset: Dataset) -> int:
    """Return what dead workers held, delete what no commit lists, show readers and archive what is committed.

    May be repeated, and run beside others; the number of raw files archived.

    Raises:
        LedgerMismatch: the ledger is not this lake's, or is older than it.
    """
    check_ledger(lake, [dataset])
    lake.ledger.reap(dataset.name)
    # Before anything is deleted or moved that only an older commit needs.
    record_commits(dataset.name, lake.store, lake.ledger)
    catalog = catalog_of(lake.settings)
    one_to_one = dataset.output.files == "one_to_one"
    if one_to_one and (found := lake.ledger.manifests_to_release(dataset.name)):
        for manifest_id in found:
            release(dataset.name, manifest_id, lake.store, lake.ledger)
        record_commits(dataset.name, lake.store, lake.ledger)
        catalog.refresh(lake, dataset)
    # Readers first: until they are told, they may be sent to the files that are about to go.
    leftovers = [] if one_to_one else lake.ledger.leftover_outputs(dataset.name)
    catalog.refresh_if_stale(lake, dataset)
    clean(dataset.name, leftovers, lake.store, lake.ledger)
    clear_staging(lake, dataset.name)
    clear_records(dataset.name, lake.store, lake.ledger)
    tell(lake, dataset)
    return archive(dataset, lake.store, lake.ledger)


def finish_erasures(lake: Lake, dataset: Dataset) -> None:
    """Go on with requests that were begun and not finished; one that has to wait for a conversion waits on."""
    if not (unfinished := [row for row in lake.ledger.erasures(dataset.name) if row.ended_at is None]):
        return
    from lake_pipeline.erasing import finish  # most of the kernel, which takes a while to import

    for row in unfinished:
        with suppress(ErasureUnfinished):
            finish(lake, dataset, row)


def prune_records(lake: Lake, dataset: Dataset) -> int:
    """Forget files that the declaration says have been remembered long enough; how many those were.

    The database's disk gets back what they, and files that were settled, left empty.
    """
    keep = dataset.retention.file_records
    pruned = 0 if keep is None else lake.ledger.prune_files(dataset.name, keep)
    lake.ledger.shrink()
    return pruned


def due_work(
    lake: Lake,
    dataset: Dataset,
    *,
    flush: bool,
    limit: int,
    backoff: timedelta = BACKOFF,
    keys: list[str] | None = None,
) -> list[DueManifest]:
    """Plan pending files and return the manifests to begin, oldest first, `limit` at most.

    `flush` plans what is there without waiting for more files. With `keys`, only these files and their manifests.
    New versions of files that are gone or were overwritten are withdrawn from the manifests to begin.
    """
    now = lake.ledger.now()
    plan(dataset, lake.ledger, lake.store, now=now, flush=flush, max_manifests=limit, backoff=backoff, keys=keys)
    tell(lake, dataset)
    due = lake.ledger.due_manifests(dataset.name, limit, dataset.batch.max_retries, keys=keys)
    if due and withdraw_lost(lake, dataset, [manifest.manifest_id for manifest in due]):
        # What lies under such a key may be an older version that came back.
        archive(dataset, lake.store, lake.ledger)
        return lake.ledger.due_manifests(dataset.name, limit, dataset.batch.max_retries, keys=keys)
    return due
