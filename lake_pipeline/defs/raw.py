"""The raw asset: a manifest's files as they landed."""

from __future__ import annotations

from typing import Any

import dagster as dg

from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.keys import asset_key
from lake_pipeline.lake import Lake
from lake_pipeline.manifests import manifest_key
from lake_pipeline.planning import current_manifest

_SHOWN = 20


def raw_spec(dataset: Dataset) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset_key(dataset, "raw"),
        skippable=True,  # its materializations are told one by one
        description=f"Raw files of {dataset.name} under {dataset.source.prefix}, one partition a manifest.",
        group_name=dataset.name,
        owners=dataset.owners,
        kinds={dataset.source.format, "s3"},
        metadata={"prefix": dataset.source.prefix},
    )


def raw_metadata(lake: Lake, dataset: Dataset, manifest_id: str) -> dict[str, Any]:
    """Files and bytes, and the first files by name."""
    manifest = current_manifest(lake.ledger, lake.store, dataset, manifest_id)
    rows = [f"| `{file.key}` | {file.size:,} |" for file in manifest.files[:_SHOWN]]
    return {
        "files": len(manifest.files),
        "bytes": manifest.bytes,
        "landing group": manifest.landing_group,
        "first files": dg.MetadataValue.md("\n".join(["| file | bytes |", "| --- | ---: |", *rows])),
        "dagster/uri": lake.store.uri(manifest_key(dataset, manifest.manifest_id)),
    }
