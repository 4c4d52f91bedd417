"""What attempts have staged, deleted once nobody can need it any more."""

from __future__ import annotations

from lake_pipeline.engines.task import STAGING
from lake_pipeline.lake import Lake


def clear_staging(lake: Lake, dataset: str) -> None:
    """Delete what attempts that are over have staged."""
    folder = f"{STAGING}{dataset}/"
    attempts = {
        tuple(item.key.removeprefix(folder).split("/")[:2]) for page in lake.store.list(folder) for item in page
    }
    for manifest_id, attempt in sorted(attempts):
        clear_attempt(lake, dataset, manifest_id, int(attempt))


def clear_attempt(lake: Lake, dataset: str, manifest_id: str, attempt: int) -> None:
    """The same of one attempt, if it is over; numbers of attempts only rise, so a new one is never hit.

    An engine's run that outlived its worker goes on writing, and the next attempt may take over what it wrote.
    """
    row = lake.ledger.manifest(dataset, manifest_id)
    over = attempt < row.attempt or row.state != "RUNNING"
    # Asked after the state: a commit that is seen there is seen here.
    if over and attempt != row.engine_attempt and lake.ledger.is_released(dataset, manifest_id):
        lake.store.delete_prefix(f"{STAGING}{dataset}/{manifest_id}/{attempt}/")
