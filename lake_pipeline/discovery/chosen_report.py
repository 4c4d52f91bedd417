"""Which report of S3 Inventory stands in for a listing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lake_pipeline.discovery.bucket import LakeBucket
from lake_pipeline.errors import ReportAwaited
from lake_pipeline.lake import Lake

if TYPE_CHECKING:
    from lake_pipeline.discovery.report import Report


def chosen_report(lake: Lake, named: str | None, tell: Callable[[str], None]) -> Report | None:
    """The report that was named, else the newest of LAKE_INVENTORY; none where the store is to be listed.

    It is listed too while LAKE_INVENTORY has no report yet, of which `tell` hears in one line.

    Raises:
        SettingsError: the store is a directory.
        InventoryInvalid: the report cannot be used.
        ReportAwaited: the folder that was named has none.
        StoreError: it cannot be read.
    """
    url = named or lake.settings.inventory
    if url is None:
        return None
    from lake_pipeline.discovery.report import find_report  # Arrow is slow to import

    LakeBucket.of(lake.settings.store_url, "an inventory")
    try:
        return find_report(url)
    except ReportAwaited as error:
        if named:
            raise
        tell(f"{error} Until it is there, the store is listed.")
        return None
