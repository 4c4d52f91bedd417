"""The raw asset: a manifest's files as they landed."""

# Annotations are read by Dagster when a definition is made, so they are not postponed here.
import dagster as dg

from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.keys import asset_key
from lake_pipeline.defs.partitions import manifest_partitions
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.guard import check_ledger
from lake_pipeline.manifests import manifest_key
from lake_pipeline.planning import current_manifest

_SHOWN = 20


def raw_asset(dataset: Dataset) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(dataset, "raw"),
        description=f"Raw files of {dataset.name} under {dataset.source.prefix}, one partition a manifest.",
        group_name=dataset.name,
        owners=dataset.owners,
        kinds={dataset.source.format, "s3"},
        partitions_def=manifest_partitions(dataset),
        backfill_policy=dg.BackfillPolicy.multi_run(),
        metadata={"prefix": dataset.source.prefix},
    )
    def raw(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        at = lake.lake
        check_ledger(at, [dataset])
        manifest = current_manifest(at.ledger, at.store, dataset, context.partition_key)
        rows = [f"| `{file.key}` | {file.size:,} |" for file in manifest.files[:_SHOWN]]
        return dg.MaterializeResult(
            metadata={
                "files": len(manifest.files),
                "bytes": manifest.bytes,
                "landing group": manifest.landing_group,
                "first files": dg.MetadataValue.md("\n".join(["| file | bytes |", "| --- | ---: |", *rows])),
                "dagster/uri": at.store.uri(manifest_key(dataset, manifest.manifest_id)),
            }
        )

    return raw
