"""The code location. Loading it reads the declarations and nothing else; importing it does not even that."""

from __future__ import annotations

import dagster as dg

from lake_pipeline.declarations import load_datasets
from lake_pipeline.defs.factory import lake_definitions
from lake_pipeline.settings import load_settings


@dg.definitions
def defs() -> dg.Definitions:
    settings = load_settings()
    return lake_definitions(
        list(load_datasets(settings.datasets).values()),
        settings.engine,
        events_queue=settings.events_queue,
        alerts=settings.alerts_topic is not None,
        metrics=settings.metrics_namespace is not None,
    )
