"""The curated asset: a manifest's rows as Hive-partitioned Parquet, or as JSON lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dagster as dg

from lake_pipeline.attempts import run_attempt
from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.checks import conservation, declared_results
from lake_pipeline.defs.engines import engine_of
from lake_pipeline.defs.keys import asset_key
from lake_pipeline.defs.metadata import curated_metadata
from lake_pipeline.lake import Lake

# A run's log must not grow with its files.
_SHOWN = 20


@dataclass(frozen=True)
class Curated:
    """A committed manifest: what its materialization shows, and its checks, that of conservation first."""

    metadata: dict[str, Any]
    checks: list[dg.AssetCheckResult]

    @property
    def is_conserved(self) -> bool:
        return self.checks[0].passed


def curated_spec(dataset: Dataset, engine: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset_key(dataset, "curated"),
        skippable=True,  # its materializations are told one by one
        deps=[asset_key(dataset, "raw")],
        description=dataset.description or f"Rows of {dataset.name} under {dataset.output.prefix}.",
        group_name=dataset.name,
        owners=dataset.owners,
        kinds={"duckdb", dataset.output.format} | ({engine} - {"local"}),
        metadata={"prefix": dataset.output.prefix, "partition_by": ", ".join(dataset.output.partition_by) or "none"},
    )


def curate(context: dg.AssetExecutionContext, lake: Lake, dataset: Dataset, manifest_id: str) -> Curated:
    """Convert one manifest.

    Raises:
        CheckFailed: a blocking check failed; its outcomes are with the error.
        LakeError: the attempt failed; the ledger says so too, and the manifest may be tried again.
    """
    key, pages = asset_key(dataset, "curated"), dict[str, Any]()
    engine = engine_of(context, lake, pages)
    outcome = run_attempt(lake, dataset, manifest_id, engine, lambda: is_cancelled(context))
    lost = [file for file in outcome.results.files if file.status != "SUCCEEDED"]
    for file in lost[:_SHOWN]:
        context.log.warning(f"{file.status}: {file.key}: {file.error_message}")
    if len(lost) > _SHOWN:
        context.log.warning(f"and {len(lost) - _SHOWN:,} more: lake files {dataset.name}")
    checks = [conservation(dataset, outcome, lake.store, key), *declared_results(outcome.results.checks, key)]
    return Curated(curated_metadata(dataset, outcome, lake.store) | pages, checks)


def is_cancelled(context: dg.AssetExecutionContext) -> bool:
    """Whether someone has asked for this run's end, in the UI or by Dagster's API."""
    run = context.instance.get_run_by_id(context.run_id)
    return run is not None and run.status in (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)
