"""Failed runs → alerts, and each minute's metrics."""

# Annotations are read by Dagster when a definition is made, so they are not postponed here.
import dagster as dg
from dagster._core.storage.tags import PARTITION_NAME_TAG

from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.defs.run_tags import ATTEMPT_TAG, manifests_of, places
from lake_pipeline.errors import LakeError
from lake_pipeline.lake import Lake
from lake_pipeline.notices.alerts import run_alert
from lake_pipeline.notices.telling import links, put_gauges, tell, tell_alert


def alerts_sensor() -> dg.SensorDefinition:
    """Runs that fail → alerts. What an attempt failed of is told from the ledger, once."""

    @dg.run_failure_sensor(
        name="lake_alerts",
        description="Publishes an alert of each run that fails, once an hour for the same run and error.",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def alerts(context: dg.RunFailureSensorContext, lake: LakeResource) -> None:
        at, run = lake.lake, context.dagster_run
        if _told_by_the_ledger(at, context.instance, run):
            return
        reason, kind = _reason(context)
        partition = run.tags.get("dagster/partition")
        alert = run_alert(run.job_name, partition, run.run_id, reason, links(at.settings))
        tell_alert(at, f"{run.job_name}/{partition or ''}/{kind}", alert)

    return alerts


def metrics_sensor() -> dg.SensorDefinition:
    """How every dataset stands → CloudWatch."""

    @dg.sensor(
        name="lake_metrics",
        description="Puts files and bytes by state, the backlog's age and the dead letters into CloudWatch.",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def metrics(lake: LakeResource) -> dg.SkipReason:
        try:
            return dg.SkipReason(f"{put_gauges(lake.lake):,} values put")
        except LakeError as error:
            return dg.SkipReason(str(error))

    return metrics


def _told_by_the_ledger(lake: Lake, instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the ledger says why: an attempt of the run failed or was overtaken, or its dataset is paused."""
    name, _, rest = run.tags.get(ATTEMPT_TAG, "").partition("/")
    if name not in lake.datasets:
        return False
    dataset = lake.dataset(name)
    manifest_id, _, number = rest.rpartition("/")
    if PARTITION_NAME_TAG in run.tags:
        manifest = lake.ledger.manifest(name, manifest_id)
        known = manifest.attempt > int(number) or (manifest.attempt == int(number) and manifest.state == "FAILED")
        has_begun = manifest.attempt >= int(number)
    else:
        states = [lake.ledger.manifest(name, one).state for one in manifests_of(run, places(instance, dataset))]
        known = "FAILED" in states
        has_begun = known
    if known:
        tell(lake, dataset)
    # A paused dataset refuses runs that were queued before, on purpose.
    return known or (not has_begun and name in lake.ledger.pauses())


def _reason(context: dg.RunFailureSensorContext) -> tuple[str, str]:
    """Why the run failed, and the class of the error, by its first step that did."""
    for event in context.get_step_failure_events():
        told = event.step_failure_data.user_failure_data
        error = event.step_failure_data.error
        text = (told.description if told else None) or (error.message if error else None) or event.message or ""
        return text.strip(), (error.cls_name if error else None) or "failure"
    return context.failure_event.message or "no reason given", "failure"
