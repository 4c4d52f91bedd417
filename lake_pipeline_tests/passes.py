"""What `lake run` does, in this process and without Dagster: quick enough for many runs in one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

from lake_pipeline.attempts import Outcome, run_attempt
from lake_pipeline.discovery.listing import discover
from lake_pipeline.engines.run import run_task
from lake_pipeline.engines.task import Task
from lake_pipeline.errors import LakeError
from lake_pipeline.lake import Lake
from lake_pipeline.progress import due_work, finish_interrupted

Engine = Callable[[Task], None]


def convert_here(task: Task) -> None:
    """An engine: this process."""
    run_task(task, lambda _: None)


def attempts(lake: Lake, dataset: str = "events", engine: Engine = convert_here) -> Iterator[Callable[[], Outcome]]:
    """Discover and plan; each attempt that is due, which is made by calling it, until nothing is due."""
    declared = lake.datasets[dataset]
    discover(declared, lake.store, lake.ledger)
    finish_interrupted(lake, declared)
    while due := due_work(lake, declared, flush=True, limit=100, backoff=timedelta()):
        for manifest in due:
            yield partial(run_attempt, lake, declared, manifest.manifest_id, engine)


def convert(lake: Lake, dataset: str = "events") -> list[Outcome]:
    """Make every attempt that is due; the first that fails ends it."""
    return [attempt() for attempt in attempts(lake, dataset)]


def work(lake: Lake, engine: Engine = convert_here, dataset: str = "events") -> list[str]:
    """Make every attempt that is due, failed ones again; why attempts failed."""
    failures = []
    for attempt in attempts(lake, dataset, engine):
        try:
            attempt()
        except LakeError as error:
            failures.append(str(error))
    return failures
