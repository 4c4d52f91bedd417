"""Engines as Pipes clients: each runs glue_scripts/convert.py somewhere and waits for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError

from lake_pipeline.engines.task import Task
from lake_pipeline.errors import SettingsError
from lake_pipeline.settings import Settings

SCRIPT = Path(__file__).parents[2] / "glue_scripts" / "convert.py"


def engine_for(context: dg.AssetExecutionContext, settings: Settings) -> Callable[[Task], None]:
    """How this lake converts: `LAKE_ENGINE`.

    Raises:
        SettingsError: that engine does not exist yet.
    """
    if settings.engine != "local":
        raise SettingsError(f"LAKE_ENGINE={settings.engine}: only the engine `local` is there so far")
    return lambda task: _run_local(context, task)


def _run_local(context: dg.AssetExecutionContext, task: Task) -> None:
    """The script in a process of its own; a failure is read from the results document, so the exit code is not."""
    client = dg.PipesSubprocessClient()
    try:
        client.run(context=context, command=[sys.executable, str(SCRIPT)], extras={"task": task.to_json()})
    except DagsterPipesExecutionError as error:
        context.log.error(str(error))
