"""What `lake run` does, in this process and without Dagster: quick enough for many runs in one test."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from lake_pipeline.attempts import run_attempt
from lake_pipeline.discovery.listing import discover
from lake_pipeline.engines.run import run_task
from lake_pipeline.engines.task import Task
from lake_pipeline.errors import LakeError
from lake_pipeline.lake import Lake
from lake_pipeline.progress import due_work, finish_interrupted


def convert_here(task: Task) -> None:
    """An engine: this process."""
    run_task(task, lambda _: None)


def work(lake: Lake, engine: Callable[[Task], None] = convert_here, dataset: str = "events") -> list[str]:
    """Discover, plan and convert until nothing is due; why attempts failed."""
    declared = lake.datasets[dataset]
    discover(declared, lake.store, lake.ledger)
    finish_interrupted(lake, declared)
    failures = []
    while due := due_work(lake, declared, flush=True, limit=100, backoff=timedelta()):
        for manifest in due:
            try:
                run_attempt(lake, declared, manifest.manifest_id, engine)
            except LakeError as error:
                failures.append(str(error))
    return failures
