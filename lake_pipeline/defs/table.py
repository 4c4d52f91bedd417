"""The table asset: a manifest's rows as a reader of the catalogue sees them."""

from __future__ import annotations

from typing import Any

import dagster as dg

from lake_pipeline.catalog.contract import catalog_of
from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.keys import asset_key
from lake_pipeline.defs.metadata import column_schema
from lake_pipeline.lake import Lake


def table_spec(dataset: Dataset) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset_key(dataset, "table"),
        skippable=True,  # its materializations are told one by one
        deps=[asset_key(dataset, "curated")],
        description=f"The table {dataset.name} in the catalogue: what `lake query` reads.",
        group_name=dataset.name,
        owners=dataset.owners,
        kinds={"duckdb", "table"},
        metadata={"dagster/table_name": dataset.name},
    )


def table_metadata(lake: Lake, dataset: Dataset, *, anew: bool) -> dict[str, Any]:
    """The table as it is once readers see every commit; made `anew` even if they do."""
    catalog = catalog_of(lake.settings)
    if anew:
        catalog.refresh(lake, dataset)
    else:
        catalog.refresh_if_stale(lake, dataset)
    rows = lake.ledger.committed_rows(dataset.name)
    return {
        # The view of a deduplicated dataset may show fewer than its files hold, and only reading it would tell.
        "rows in files" if dataset.transform.deduplicate else "dagster/row_count": rows,
        "dagster/uri": catalog.table_uri(lake.settings, dataset),
        "dagster/column_schema": column_schema(lake.schema(dataset.name)),
    }
