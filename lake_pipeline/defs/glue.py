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


def glue_engine(context: dg.AssetExecutionContext, lake: Lake) -> GlueEngine:
    """The engine for one task.

    Raises:
        SettingsError: AWS cannot be asked, for lack of a region.
    """
    settings = lake.settings
    assert settings.glue_job is not None, "open_lake refuses the engine without a job"
    job = GlueJob(
        settings.glue_job, context.log.info, poll=settings.glue_poll_seconds, retry=settings.glue_retry_seconds
    )

    @contextmanager
    def pipes(task: Task) -> Iterator[Mapping[str, str]]:
        prefix = f"{task.staging}pipes/"
        extras: dict[str, Any] = {"task": task.to_json()}
        if job.on_spark():
            extras["spark"] = SparkOptions(master=None, part_bytes=settings.spark_part).to_json()
        with dg.open_pipes_session(
            context=context,
            context_injector=StoreContextInjector(lake.store, prefix),
            message_reader=StoreMessageReader(lake.store, prefix),
            extras=extras,
        ) as session:
            yield session.get_bootstrap_cli_arguments()

    def began(run: GlueRun) -> None:
        pages = {
            "Glue job run": run_url(job.region, job.name, run.id),
            "Glue log": log_url(job.region, f"{run.log_group}/output", run.id),
            "Glue error log": log_url(job.region, f"{run.log_group}/error", run.id),
        }
        context.log.info("\n".join(f"{name}: {url}" for name, url in pages.items()))
        context.add_asset_metadata({name: dg.MetadataValue.url(url) for name, url in pages.items()})

    def explain(run: GlueRun) -> str:
        page = log_url(job.region, f"{run.log_group}/error", run.id)
        return f"{page}\n{tail(client('logs'), run.log_group, run.id)}"

    return GlueEngine(job, lake.store, lake.ledger, pipes, context.log.info, began, explain)
