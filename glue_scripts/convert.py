"""Converts one manifest: a Dagster Pipes script that runs on every engine.

The orchestrator hands over a task (lake_pipeline.engines.task.Task) as Pipes extras, with Spark's options where it is
to run on Spark, and reads the outcome from the results document in the store, so that a lost message loses nothing.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext

from dagster_pipes import (
    PipesCliArgsParamsLoader,
    PipesContext,
    PipesEnvVarParamsLoader,
    PipesS3ContextLoader,
    PipesS3MessageWriter,
    open_dagster_pipes,
)

from lake_pipeline.engines.run import run_task
from lake_pipeline.engines.session import SparkOptions
from lake_pipeline.engines.task import Task
from lake_pipeline.errors import LakeError
from lake_pipeline.exiting import ending_at_once


def open_pipes() -> PipesContext:
    """Pipes through S3 where the command line says so, as on AWS Glue, else as the environment says."""
    arguments = PipesCliArgsParamsLoader()  # type: ignore[no-untyped-call]
    if not arguments.is_dagster_pipes_process():
        return open_dagster_pipes()
    from lake_pipeline.aws import client  # boto3 takes a while to import

    s3 = client("s3")
    return open_dagster_pipes(
        context_loader=PipesS3ContextLoader(s3),
        message_writer=PipesS3MessageWriter(s3, interval=1),
        params_loader=arguments,
    )


def main() -> int:
    """Exit status 1 where the conversion failed; the results document says why."""
    with open_pipes() as pipes:
        task = Task.from_json(pipes.extras["task"])
        options = pipes.extras.get("spark")
        try:
            results = run_task(task, pipes.log.info, SparkOptions.from_json(options) if options else None)
        except LakeError as error:
            pipes.log.error(str(error))
            return 1
        pipes.log.info(
            f"{results.rows_written:,} rows of {len(results.files):,} files, {results.bytes_read:,} bytes, staged in"
            f" {sum(results.seconds.values()):.1f} s"
        )
    return 0


if __name__ == "__main__":
    # In a process of our own; on Glue it is somebody else's.
    is_ours = PipesEnvVarParamsLoader().is_dagster_pipes_process()  # type: ignore[no-untyped-call]
    with ending_at_once() if is_ours else nullcontext():
        if status := main():
            sys.exit(status)  # Glue takes every SystemExit for a failure
