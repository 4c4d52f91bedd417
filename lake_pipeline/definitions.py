"""The code location. Loading it reads the declarations and nothing else; importing it does not even that."""

from __future__ import annotations

import dagster as dg

from lake_pipeline.declarations import load_datasets
from lake_pipeline.defs.factory import lake_definitions
from lake_pipeline.settings import load_settings


@dg.definitions
def defs() -> dg.Definitions:
    settings = load_settings()
    datasets = list(load_datasets(settings.datasets).values())
    return lake_definitions(datasets, settings.engine, events_queue=settings.events_queue)
