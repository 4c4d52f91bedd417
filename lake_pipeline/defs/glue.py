"""The engine `glue` in a Dagster run: the job's messages in the run's log, its pages linked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg

from lake_pipeline.aws import client
from lake_pipeline.defs.pipes_store import StoreContextInjector, StoreMessageReader
from lake_pipeline.engines.glue import GlueEngine
from lake_pipeline.engines.glue_job import GlueJob, GlueRun
from lake_pipeline.engines.glue_logs import log_url, run_url, tail
from lake_pipeline.engines.session import SparkOptions
from lake_pipeline.engines.task import Task
from lake_pipeline.lake import Lake


def glue_engine(context: dg.AssetExecutionContext, lake: Lake, pages: dict[str, Any]) -> GlueEngine:
    """The engine for one task; its run's pages are put into `pages`.

    Raises:
        SettingsError: AWS cannot be asked, for lack of a region.
    """
    settings = lake.settings
    assert settings.glue_job is not None, "open_lake refuses the engine without a job"
    job = GlueJob(
        settings.glue_job, context.log.info, poll=settings.glue_poll_seconds, retry=settings.glue_retry_seconds
    )

    # Glue itself says which master its scripts meet.
    spark = {"spark": SparkOptions(None, settings.spark_part).to_json()} if settings.glue_spark else {}

    @contextmanager
    def pipes(task: Task) -> Iterator[Mapping[str, str]]:
        prefix = f"{task.staging}pipes/"
        with dg.open_pipes_session(
            context=context,
            context_injector=StoreContextInjector(lake.store, prefix),
            message_reader=StoreMessageReader(lake.store, prefix),
            extras={"task": task.to_json(), **spark},
        ) as session:
            yield session.get_bootstrap_cli_arguments()

    def began(run: GlueRun) -> None:
        urls = {
            "Glue job run": run_url(job.region, job.name, run.id),
            "Glue log": log_url(job.region, f"{run.log_group}/output", run.id),
            "Glue error log": log_url(job.region, f"{run.log_group}/error", run.id),
        }
        context.log.info("\n".join(f"{name}: {url}" for name, url in urls.items()))
        pages.update({name: dg.MetadataValue.url(url) for name, url in urls.items()})

    def explain(run: GlueRun) -> str:
        page = log_url(job.region, f"{run.log_group}/error", run.id)
        return f"{page}\n{tail(client('logs'), run.log_group, run.id)}"

    return GlueEngine(job, lake.store, lake.ledger, pipes, context.log.info, began, explain)
