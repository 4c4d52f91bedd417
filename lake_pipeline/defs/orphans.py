"""Runs that `lake run` was killed in: nothing else would ever end them, and they hold places in the run queue."""

from __future__ import annotations

import dagster as dg

from lake_pipeline.workers import is_dead, worker_name

WORKER_TAG = "lake/worker"


def worker_tag() -> dict[str, str]:
    """The tag of a run that lives and dies with this process."""
    return {WORKER_TAG: worker_name()}


def fail_orphans(instance: dg.DagsterInstance) -> int:
    """Report runs whose process is gone as failed; how many those were."""
    under_way = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
    orphans = [run for run in instance.get_runs(under_way) if is_dead(run.tags.get(WORKER_TAG, ""))]
    for run in orphans:
        instance.report_run_failed(run, f"its process, {run.tags[WORKER_TAG]}, was killed")
    return len(orphans)
