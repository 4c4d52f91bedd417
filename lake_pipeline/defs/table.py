"""The table asset: a manifest's rows as a reader of the catalogue sees them."""

# Annotations are read by Dagster when a definition is made, so they are not postponed here.
import dagster as dg

from lake_pipeline.catalog.contract import catalog_of
from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.keys import asset_key
from lake_pipeline.defs.metadata import column_schema
from lake_pipeline.defs.partitions import manifest_partitions
from lake_pipeline.defs.resources import LakeResource


def table_asset(dataset: Dataset) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(dataset, "table"),
        deps=[dg.AssetDep(asset_key(dataset, "curated"), partition_mapping=dg.IdentityPartitionMapping())],
        description=f"The table {dataset.name} in the catalogue: what `lake query` reads.",
        group_name=dataset.name,
        owners=dataset.owners,
        kinds={"duckdb", "table"},
        partitions_def=manifest_partitions(dataset),
        backfill_policy=dg.BackfillPolicy.multi_run(),
        metadata={"dagster/table_name": dataset.name},
    )
    def table(lake: LakeResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        at = lake.lake
        catalog = catalog_of(at.settings)
        rows = catalog.refresh(at, dataset)
        return dg.MaterializeResult(
            metadata={
                # The view of a deduplicated dataset may show fewer than its files hold, and only reading it would tell.
                "rows in files" if dataset.transform.deduplicate else "dagster/row_count": rows,
                "dagster/uri": catalog.table_uri(at.settings, dataset),
                "dagster/column_schema": column_schema(at.schema(dataset.name)),
            }
        )

    return table
