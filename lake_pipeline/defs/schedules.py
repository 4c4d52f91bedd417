"""The schedule of a dataset that declares one: it plans and starts runs, in place of the work sensor."""

# Annotations are read by Dagster when a definition is made, so they are not postponed here.
import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from lake_pipeline.dataset import Dataset, Schedule
from lake_pipeline.defs.partitions import manifest_partitions
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.defs.sensors import MANIFESTS_PER_TICK, run_requests
from lake_pipeline.progress import due_work, finish_interrupted


def work_schedule(dataset: Dataset, declared: Schedule, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """What has arrived by then → manifests, partitions and run requests."""
    partitions = manifest_partitions(dataset).name or ""

    @dg.schedule(
        name=f"{dataset.name}_work",
        description=f"Plans all that waits in {dataset.name}, {MANIFESTS_PER_TICK} manifests a tick at most.",
        cron_schedule=declared.cron,
        execution_timezone=declared.timezone,
        job=job,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def work(context: dg.ScheduleEvaluationContext, lake: LakeResource) -> list[dg.RunRequest] | dg.SkipReason:
        at = lake.lake
        finish_interrupted(at, dataset)
        if pause := at.ledger.pauses().get(dataset.name):
            return dg.SkipReason(str(pause))
        # The schedule says when, so nothing waits for max_wait.
        due = due_work(at, dataset, flush=True, limit=MANIFESTS_PER_TICK)
        if not due:
            return dg.SkipReason("no manifest is due")
        asked = run_requests(context.instance, dataset, due)
        # A sensor's answer brings its partitions along; a schedule adds them itself.
        context.instance.add_dynamic_partitions(partitions, [manifest.manifest_id for manifest in due])
        return asked or dg.SkipReason("runs of all that is due were asked for before")

    return work
