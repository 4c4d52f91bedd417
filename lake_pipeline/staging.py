"""What attempts have staged, deleted once nobody can need it any more."""

from __future__ import annotations

from lake_pipeline.engines.task import STAGING
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import ManifestRow


def clear_staging(lake: Lake, dataset: str) -> None:
    """Delete what attempts that are over have staged."""
    folder = f"{STAGING}{dataset}/"
    attempts = {
        tuple(item.key.removeprefix(folder).split("/")[:2]) for page in lake.store.list(folder) for item in page
    }
    known = lake.ledger.manifests_of(dataset, {manifest_id for manifest_id, *_ in attempts})
    for manifest_id, *attempt in sorted(attempts):
        # What is of no attempt in the ledger is somebody else's; an audit names it.
        if manifest_id in known and attempt and attempt[0].isdecimal():
            _clear(lake, known[manifest_id], int(attempt[0]))


def clear_attempt(lake: Lake, dataset: str, manifest_id: str, attempt: int) -> None:
    """The same of one attempt."""
    _clear(lake, lake.ledger.manifest(dataset, manifest_id), attempt)


def is_abandoned(ledger: Ledger, manifest: ManifestRow, attempt: int) -> bool:
    """Whether an attempt is over and nobody will read again what it has staged.

    Numbers of attempts only rise, so a new one never is. An engine's run that outlived its worker goes on writing, and
    the next attempt may take over what it wrote.
    """
    over = attempt < manifest.attempt or manifest.state != "RUNNING"
    # Asked after the state: a commit that is seen there is seen here.
    return over and attempt != manifest.engine_attempt and ledger.is_released(manifest.dataset, manifest.manifest_id)


def _clear(lake: Lake, manifest: ManifestRow, attempt: int) -> None:
    if is_abandoned(lake.ledger, manifest, attempt):
        lake.store.delete_prefix(f"{STAGING}{manifest.dataset}/{manifest.manifest_id}/{attempt}/")
