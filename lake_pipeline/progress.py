"""The pass that keeps a dataset moving: finish what was interrupted, then say which manifests are to be run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lake_pipeline.archiving import archive
from lake_pipeline.catalog.contract import catalog_of
from lake_pipeline.dataset import Dataset
from lake_pipeline.engines.task import STAGING
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import DueManifest
from lake_pipeline.notices.telling import tell
from lake_pipeline.planning import BACKOFF, plan
from lake_pipeline.publishing import clean, release
from lake_pipeline.quarantine import clear_records
from lake_pipeline.versions import withdraw_lost


def finish_interrupted(lake: Lake, dataset: Dataset) -> int:
    """Return what dead workers held, delete what no commit lists, show readers and archive what is committed.

    May be repeated, and run beside others; the number of raw files archived.
    """
    lake.ledger.reap(dataset.name)
    catalog = catalog_of(lake.settings)
    one_to_one = dataset.output.files == "one_to_one"
    if one_to_one and (found := lake.ledger.manifests_to_release(dataset.name)):
        for manifest_id in found:
            release(dataset.name, manifest_id, lake.store, lake.ledger)
        catalog.refresh(lake, dataset)
    # Readers first: until they are told, they may be sent to the files that are about to go.
    leftovers = [] if one_to_one else lake.ledger.leftover_outputs(dataset.name)
    catalog.refresh_if_stale(lake, dataset)
    clean(dataset.name, leftovers, lake.store, lake.ledger)
    _clear_staging(lake, dataset.name)
    clear_records(dataset.name, lake.store, lake.ledger)
    tell(lake, dataset)
    return archive(dataset, lake.store, lake.ledger)


def prune_records(lake: Lake, dataset: Dataset) -> int:
    """Forget files that the declaration says have been remembered long enough; how many those were."""
    keep = dataset.retention.file_records
    return 0 if keep is None else lake.ledger.prune_files(dataset.name, keep)


def _clear_staging(lake: Lake, dataset: str) -> None:
    """Delete what attempts that are over have staged; numbers of attempts only rise, so a new one is never hit.

    An engine's run that outlived its worker goes on writing, and the next attempt may take over what it wrote.
    """
    folder = f"{STAGING}{dataset}/"
    attempts = {
        tuple(item.key.removeprefix(folder).split("/")[:2]) for page in lake.store.list(folder) for item in page
    }
    for manifest_id, attempt in sorted(attempts):
        row = lake.ledger.manifest(dataset, manifest_id)
        over = int(attempt) < row.attempt or row.state != "RUNNING"
        # Asked after the state: a commit that is seen there is seen here.
        if over and int(attempt) != row.engine_attempt and lake.ledger.is_released(dataset, manifest_id):
            lake.store.delete_prefix(f"{folder}{manifest_id}/{attempt}/")


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
    now = datetime.now(UTC)
    plan(dataset, lake.ledger, lake.store, now=now, flush=flush, max_manifests=limit, backoff=backoff, keys=keys)
    tell(lake, dataset)
    due = lake.ledger.due_manifests(dataset.name, limit, dataset.batch.max_retries, keys=keys)
    if due and withdraw_lost(lake, dataset, [manifest.manifest_id for manifest in due]):
        # What lies under such a key may be an older version that came back.
        archive(dataset, lake.store, lake.ledger)
        return lake.ledger.due_manifests(dataset.name, limit, dataset.batch.max_retries, keys=keys)
    return due
