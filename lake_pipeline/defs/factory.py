"""One dataset as Dagster definitions; the component and the code location both call this."""

from __future__ import annotations

import warnings

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.alerts import alerts_sensor, metrics_sensor
from lake_pipeline.defs.extracts import extract_asset, extracts_job, extracts_sensor
from lake_pipeline.defs.jobs import manifest_job, reconcile_job, reconcile_schedule
from lake_pipeline.defs.manifest_assets import manifest_assets
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.defs.schedules import work_schedule
from lake_pipeline.defs.sensors import arrivals_sensor, work_sensor


def dataset_definitions(dataset: Dataset, engine: str = "local", *, listed: bool = True) -> dg.Definitions:
    """Assets raw → curated → table, their job, what starts it, and the reconciling schedule of one dataset.

    The job is started by a sensor as files arrive, or by the schedule that the dataset declares. What has arrived is
    found by listing, unless it is told by events. `engine` is what is shown of where conversions run.
    """
    manifest = manifest_job(dataset)
    reconcile = reconcile_job(dataset)
    with warnings.catch_warnings():
        # Asked for by name, and nothing that a user could act on: backfill policies are still called beta.
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets = [manifest_assets(dataset, engine)]
    sensors = [arrivals_sensor(dataset)] if listed else []
    schedules = [reconcile_schedule(dataset, reconcile)]
    if dataset.schedule is None:
        sensors.append(work_sensor(dataset, manifest))
    else:
        schedules.append(work_schedule(dataset, dataset.schedule, manifest))
    jobs: list[dg.JobDefinition | UnresolvedAssetJobDefinition] = [manifest, reconcile]
    if dataset.extracts:
        made = extracts_job(dataset)
        assets += [extract_asset(dataset, extract) for extract in dataset.extracts]
        jobs.append(made)
        sensors.append(extracts_sensor(dataset, made))
    return dg.Definitions(assets=assets, jobs=jobs, sensors=sensors, schedules=schedules)


def lake_definitions(
    datasets: list[Dataset],
    engine: str = "local",
    *,
    events_queue: str | None = None,
    alerts: bool = False,
    metrics: bool = False,
) -> dg.Definitions:
    """Every dataset's definitions, the sensors of those services that the lake has, and the lake that they work on."""
    sensors = []
    if events_queue:
        from lake_pipeline.defs.events import events_sensor  # boto3 takes a while to import

        sensors.append(events_sensor(datasets, events_queue))
    sensors += [alerts_sensor()] if alerts else []
    sensors += [metrics_sensor()] if metrics else []
    return dg.Definitions.merge(
        *(dataset_definitions(dataset, engine, listed=events_queue is None) for dataset in datasets),
        dg.Definitions(
            resources={"lake": LakeResource()},
            sensors=sensors,
            # For what somebody starts in the UI, which is no job of ours; a component leaves that to its project.
            executor=dg.in_process_executor,
        ),
    )
