"""Engines as Pipes clients: each runs glue_scripts/convert.py somewhere and waits for it."""

from __future__ import annotations

import sys

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError

from lake_pipeline.engines.task import SCRIPT, Task


def run_local(context: dg.AssetExecutionContext, task: Task) -> None:
    """The script in a process of its own; a failure is read from the results document, so the exit code is not."""
    client = dg.PipesSubprocessClient()
    try:
        client.run(context=context, command=[sys.executable, str(SCRIPT)], extras={"task": task.to_json()})
    except DagsterPipesExecutionError as error:
        context.log.error(str(error))
