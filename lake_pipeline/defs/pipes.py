"""Engines as a Pipes client: glue_scripts/convert.py in a process of this machine, alone or as Spark's driver."""

from __future__ import annotations

import sys
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError

from lake_pipeline.engines.environment import spark_environment
from lake_pipeline.engines.session import SparkOptions
from lake_pipeline.engines.task import SCRIPT, Task
from lake_pipeline.settings import Settings

# An engine knows the store and no database.
_NOT_FOR_ENGINES = (
    "LAKE_DATABASE_URL",
    "LAKE_MIGRATION_DATABASE_URL",
    "LAKE_DAGSTER_DATABASE_URL",
    "LAKE_IMPORT_DATABASE_URL",
)


def run_script(context: dg.AssetExecutionContext, settings: Settings, task: Task) -> None:
    """Run the script where LAKE_ENGINE says; a failure is read from the results document, so the exit code is not."""
    extras: dict[str, Any] = {"task": task.to_json()}
    env = dict.fromkeys(_NOT_FOR_ENGINES, "")
    if settings.engine == "spark":
        extras["spark"] = SparkOptions(settings.spark_master, settings.spark_part).to_json()
        env |= spark_environment(settings)
    client = dg.PipesSubprocessClient(env=env)
    try:
        client.run(context=context, command=[sys.executable, str(SCRIPT)], extras=extras)
    except DagsterPipesExecutionError as error:
        context.log.error(str(error))
