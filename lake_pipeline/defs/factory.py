"""One dataset as Dagster definitions; the component and the code location both call this."""

from __future__ import annotations

import warnings

import dagster as dg

from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.curated import curated_asset
from lake_pipeline.defs.jobs import manifest_job, reconcile_job, reconcile_schedule
from lake_pipeline.defs.raw import raw_asset
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.defs.sensors import arrivals_sensor, work_sensor
from lake_pipeline.defs.table import table_asset


def dataset_definitions(dataset: Dataset) -> dg.Definitions:
    """Assets raw → curated → table, their job, the two sensors and the reconciling schedule of one dataset."""
    manifest = manifest_job(dataset)
    reconcile = reconcile_job(dataset)
    with warnings.catch_warnings():
        # Asked for by name, and nothing that a user could act on: backfill policies are still called beta.
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets = [raw_asset(dataset), curated_asset(dataset), table_asset(dataset)]
    return dg.Definitions(
        assets=assets,
        jobs=[manifest, reconcile],
        sensors=[arrivals_sensor(dataset), work_sensor(dataset, manifest)],
        schedules=[reconcile_schedule(dataset, reconcile)],
    )


def lake_definitions(datasets: list[Dataset]) -> dg.Definitions:
    """Every dataset's definitions, and the lake that they work on."""
    return dg.Definitions.merge(*map(dataset_definitions, datasets), dg.Definitions(resources={"lake": LakeResource()}))
