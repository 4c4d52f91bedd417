"""A dataset's extracts: assets below its table, made anew when the table has changed.

A sensor asks for one run however many manifests were committed meanwhile: an automation condition would wait for every
manifest's partition, also for one that failed for good, and a step of each manifest's run would read the whole table
once a manifest.
"""

# Annotations are read by Dagster when a definition is made, so they are not postponed here.
import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from lake_pipeline.dataset import Dataset, Extract
from lake_pipeline.defs.keys import asset_key, extracts_job_name
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.errors import LakeError
from lake_pipeline.extracts import extract_folder, stale_extracts, staleness_key, table_name, write_extract


def extract_key(dataset: Dataset, extract: Extract) -> dg.AssetKey:
    return dg.AssetKey([dataset.name, "extracts", extract.name])


def extract_asset(dataset: Dataset, extract: Extract) -> dg.AssetsDefinition:
    @dg.asset(
        key=extract_key(dataset, extract),
        deps=[dg.AssetDep(asset_key(dataset, "table"), partition_mapping=dg.AllPartitionMapping())],
        description=extract.description or f"The table {table_name(dataset, extract)}.",
        group_name=f"{dataset.name}_extracts",  # not in the dataset's own, whose job runs one manifest
        owners=dataset.owners,
        kinds={"duckdb", "parquet"},
        pool="convert",
        metadata={"dagster/table_name": table_name(dataset, extract), "sql": dg.MetadataValue.text(extract.sql)},
    )
    def made(lake: LakeResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        at = lake.lake
        try:
            manifest = write_extract(at, dataset, extract)
        except LakeError as error:
            raise dg.Failure(description=error.detail, allow_retries=False) from error
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": manifest.rows,
                "files": len(manifest.files),
                "bytes": sum(file.bytes for file in manifest.files),
                "dagster/uri": at.store.uri(f"{extract_folder(dataset, extract)}manifest.json"),
            }
        )

    return made


def extracts_job(dataset: Dataset) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        extracts_job_name(dataset),
        selection=dg.AssetSelection.groups(f"{dataset.name}_extracts"),
        description=f"The extracts of {dataset.name}.",
        executor_def=dg.in_process_executor,
    )


def extracts_sensor(dataset: Dataset, job: UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """A table that has changed → one run of what is stale."""

    @dg.sensor(
        name=f"{dataset.name}_extracts",
        description=f"Makes the extracts of {dataset.name} anew when its table has changed.",
        job=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def extracts(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.RunRequest | dg.SkipReason:
        if pause := lake.lake.ledger.pauses().get(dataset.name):
            return dg.SkipReason(str(pause))
        stale = stale_extracts(lake.lake, dataset)
        if not stale:
            return dg.SkipReason("every extract shows the table as it is")
        going_on = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
        if context.instance.get_runs_count(dg.RunsFilter(job_name=extracts_job_name(dataset), statuses=going_on)):
            return dg.SkipReason("a run is going on")
        return dg.RunRequest(
            # SQL that fails is tried again when it, or the table, has changed.
            run_key=staleness_key(lake.lake, dataset, stale),
            asset_selection=[extract_key(dataset, extract) for extract in stale],
        )

    return extracts
