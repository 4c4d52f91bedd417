"""Jobs: one manifest from raw to table, and the reconciling listing with its schedule."""

# Annotations are read by Dagster when a definition is made, so they are not postponed here.
import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.keys import job_name
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.discovery.listing import Discovered, discover
from lake_pipeline.progress import finish_interrupted, prune_records


def manifest_job(dataset: Dataset) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        job_name(dataset),
        selection=dg.AssetSelection.groups(dataset.name),
        description=f"One manifest of {dataset.name}: raw → curated → table.",
        # Three short steps: a process for each would take longer than most manifests.
        executor_def=dg.in_process_executor,
    )


def reconcile_job(dataset: Dataset) -> dg.JobDefinition:
    """A whole listing, however long it takes, and the end of whatever was interrupted."""

    @dg.op(name=f"reconcile_{dataset.name}")
    def reconcile(context: dg.OpExecutionContext, lake: LakeResource) -> None:
        at = lake.lake

        def progress(found: Discovered) -> None:
            context.log.info(f"{found.listed:,} listed, {found.new:,} new")

        found = discover(dataset, at.store, at.ledger, on_progress=progress)
        archived = finish_interrupted(at, dataset)
        pruned = prune_records(at, dataset)
        context.log.info(f"{found.listed:,} listed, {found.new:,} new, {archived:,} archived, {pruned:,} forgotten")

    @dg.job(
        name=f"{dataset.name}_reconcile",
        description=f"Lists all of {dataset.source.prefix}, finishes what was interrupted, forgets what is old.",
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        reconcile()

    return job


def reconcile_schedule(dataset: Dataset, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=f"{dataset.name}_reconcile_hourly",
        job=job,
        cron_schedule="17 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
