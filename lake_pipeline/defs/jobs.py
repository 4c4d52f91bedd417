"""Jobs: one manifest from raw to table, and the reconciling listing with its schedule."""

# Annotations are read by Dagster when a definition is made, so they are not postponed here.
import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from pydantic import Field

from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.keys import job_name
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.discovery.chosen_report import chosen_report
from lake_pipeline.discovery.listing import Discovered
from lake_pipeline.discovery.reconcile import reconcile
from lake_pipeline.progress import finish_erasures, finish_interrupted, prune_records


def manifest_job(dataset: Dataset) -> UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        job_name(dataset),
        selection=dg.AssetSelection.groups(dataset.name),
        description=f"One manifest of {dataset.name}, or several small ones: raw → curated → table.",
        # One step, for which a second process would take longer than most manifests.
        executor_def=dg.in_process_executor,
    )


class ReconcileBudget(dg.Config):
    """What one run may spend on finding files; the next one goes on from there.

    20,000 LISTs are 20 million keys and, at AWS's price of 0.005 USD a thousand, 0.10 USD.
    """

    seconds: int = Field(default=45 * 60, description="how long")
    requests: int = Field(default=20_000, description="how many LISTs of 1,000 keys, or as many rows of an inventory")


def reconcile_job(dataset: Dataset) -> dg.JobDefinition:
    """A listing, or the reading of an inventory, within a budget, and the end of whatever was interrupted."""

    @dg.op(name=f"reconcile_{dataset.name}")
    def reconcile_op(context: dg.OpExecutionContext, config: ReconcileBudget, lake: LakeResource) -> None:
        at = lake.lake

        def progress(found: Discovered) -> None:
            context.log.info(f"{found.listed:,} listed, {found.new:,} new")

        found = reconcile(
            at,
            dataset,
            report=chosen_report(at, None, context.log.warning),
            seconds=config.seconds,
            requests=config.requests,
            on_progress=progress,
        )
        archived = finish_interrupted(at, dataset)
        finish_erasures(at, dataset)
        pruned = prune_records(at, dataset)
        more = "" if found.complete else "; the next run goes on from there"
        context.log.info(f"{found.listed:,} listed, {found.new:,} new{more}")
        context.log.info(f"{archived:,} archived, {pruned:,} forgotten")

    @dg.job(
        name=f"{dataset.name}_reconcile",
        description=f"Finds all of {dataset.source.prefix}, finishes what was interrupted, forgets what is old.",
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        reconcile_op()

    return job


def reconcile_schedule(dataset: Dataset, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=f"{dataset.name}_reconcile_hourly",
        job=job,
        cron_schedule="17 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
