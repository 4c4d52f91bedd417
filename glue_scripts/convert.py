"""Converts one manifest: a Dagster Pipes script that runs on every engine.

The orchestrator hands over a task (lake_pipeline.engines.task.Task) as Pipes extras, with Spark's options where it is
to run on Spark, and reads the outcome from the results document in the store, so that a lost message loses nothing.
"""

from __future__ import annotations

import sys

from dagster_pipes import open_dagster_pipes

from lake_pipeline.engines.run import run_task
from lake_pipeline.engines.session import SparkOptions
from lake_pipeline.engines.task import Task
from lake_pipeline.errors import LakeError


def main() -> int:
    """Exit status 1 where the conversion failed; the results document says why."""
    with open_dagster_pipes() as pipes:
        task = Task.from_json(pipes.extras["task"])
        options = pipes.extras.get("spark")
        try:
            results = run_task(task, pipes.log.info, SparkOptions.from_json(options) if options else None)
        except LakeError as error:
            pipes.log.error(str(error))
            return 1
        pipes.log.info(f"{results.rows_written:,} rows staged in {sum(results.seconds.values()):.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
