"""What no event told of: found by a listing, or by a report of S3 Inventory where there is one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lake_pipeline.dataset import Dataset
from lake_pipeline.discovery.bucket import LakeBucket
from lake_pipeline.discovery.listing import Discovered, discover
from lake_pipeline.guard import check_ledger
from lake_pipeline.lake import Lake

if TYPE_CHECKING:
    from lake_pipeline.discovery.report import Report

# One LIST answers with so many keys.
KEYS_PER_REQUEST = 1000


def reconcile(
    lake: Lake,
    dataset: Dataset,
    *,
    report: Report | None = None,
    seconds: float | None = None,
    requests: int | None = None,
    on_progress: Callable[[Discovered], None] | None = None,
) -> Discovered:
    """Register what lies under a dataset's prefix, or what a report says of it, within a budget.

    `requests` are LISTs of 1,000 keys, or as many rows of a report. What the budget leaves over is done by the next
    call, which goes on from there.

    Raises:
        LedgerMismatch: the ledger is not this lake's, or is older than it.
        SettingsError: there is a report, and the store is a directory.
        InventoryInvalid: the report cannot be used.
        StoreError: the listing failed; what was listed before is kept.
    """
    check_ledger(lake, [dataset])
    deadline = None if seconds is None else time.monotonic() + seconds
    most = None if requests is None else requests * KEYS_PER_REQUEST
    if report is None:
        return discover(dataset, lake.store, lake.ledger, on_progress=on_progress, deadline=deadline, most=most)
    from lake_pipeline.discovery.inventory import discover_reported  # Arrow is slow to import

    bucket = LakeBucket.of(lake.settings.store_url, "an inventory")
    return discover_reported(
        dataset, report, bucket, lake.store, lake.ledger, on_progress=on_progress, deadline=deadline, most=most
    )
