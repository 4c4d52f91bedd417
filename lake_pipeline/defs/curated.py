"""The curated asset: a manifest's rows as Hive-partitioned Parquet, or as JSON lines."""

# Annotations are read by Dagster when a definition is made, so they are not postponed here.
from collections.abc import Iterator
from typing import Any

import dagster as dg

from lake_pipeline.attempts import run_attempt
from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.checks import check_specs, conservation, declared_results
from lake_pipeline.defs.engines import engine_of
from lake_pipeline.defs.keys import asset_key
from lake_pipeline.defs.metadata import curated_metadata
from lake_pipeline.defs.partitions import manifest_partitions
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.errors import CheckFailed, LakeError


def curated_asset(dataset: Dataset, engine: str) -> dg.AssetsDefinition:
    key = asset_key(dataset, "curated")

    @dg.asset(
        key=key,
        deps=[dg.AssetDep(asset_key(dataset, "raw"), partition_mapping=dg.IdentityPartitionMapping())],
        description=dataset.description or f"Rows of {dataset.name} under {dataset.output.prefix}.",
        group_name=dataset.name,
        owners=dataset.owners,
        kinds={"duckdb", dataset.output.format} | ({engine} - {"local"}),
        partitions_def=manifest_partitions(dataset),
        backfill_policy=dg.BackfillPolicy.multi_run(),
        check_specs=check_specs(dataset, key),
        pool="convert",
        metadata={"prefix": dataset.output.prefix, "partition_by": ", ".join(dataset.output.partition_by) or "none"},
    )
    def curated(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        at = lake.lake
        try:
            outcome = run_attempt(
                at, dataset, context.partition_key, engine_of(context, at), lambda: _is_cancelled(context)
            )
        except CheckFailed as error:
            yield from declared_results(error.outcomes, key)
            raise dg.Failure(description=str(error), allow_retries=False) from error
        except LakeError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        for file in outcome.results.files:
            if file.status != "SUCCEEDED":
                context.log.warning(f"{file.status}: {file.key}: {file.error_message}")
        yield dg.MaterializeResult(metadata=curated_metadata(dataset, outcome, at.store))
        yield conservation(dataset, outcome, at.store, key)
        yield from declared_results(outcome.results.checks, key)

    return curated


def _is_cancelled(context: dg.AssetExecutionContext) -> bool:
    """Whether someone has asked for this run's end, in the UI or by Dagster's API."""
    run = context.instance.get_run_by_id(context.run_id)
    return run is not None and run.status in (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)
