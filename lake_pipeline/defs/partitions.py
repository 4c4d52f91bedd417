"""One partition is one manifest; raw, curated and table of a dataset share the definition."""

from __future__ import annotations

import dagster as dg

from lake_pipeline.dataset import Dataset


def manifest_partitions(dataset: Dataset) -> dg.DynamicPartitionsDefinition:
    return dg.DynamicPartitionsDefinition(name=f"{dataset.name}_manifests")
