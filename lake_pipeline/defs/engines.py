"""The engine that LAKE_ENGINE names, for one step of a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import dagster as dg

from lake_pipeline.defs.pipes import run_script
from lake_pipeline.engines.task import Task
from lake_pipeline.lake import Lake


def engine_of(context: dg.AssetExecutionContext, lake: Lake, pages: dict[str, Any]) -> Callable[[Task], float | None]:
    """What runs a task and returns once its results document is in the store, or can be expected there no more.

    The engine's own pages about that are put into `pages`.
    """
    if lake.settings.engine == "glue":
        return partial(_run_glue, context, lake, pages)
    return partial(run_script, context, lake.settings)


def _run_glue(context: dg.AssetExecutionContext, lake: Lake, pages: dict[str, Any], task: Task) -> float:
    from lake_pipeline.defs.glue import glue_engine  # boto3 takes a while to import

    # Made inside of the attempt, so that what AWS lacks is the attempt's failure; and anew, for Pipes' parts remember.
    return glue_engine(context, lake, pages).run(task)
