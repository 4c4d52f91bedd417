"""A lake's costs: the ledger's figures and the region's prices, brought to the pure reckoning in costs/."""

from __future__ import annotations

import os
from typing import Any

from lake_pipeline.costs.bill import bill
from lake_pipeline.costs.estimate import Estimate, Waiting, estimate, work_of
from lake_pipeline.costs.machine import Machine
from lake_pipeline.costs.pace import EngineName, Measured
from lake_pipeline.costs.prices import DEFAULT_REGION, price_list
from lake_pipeline.costs.requests import Work
from lake_pipeline.dataset import Dataset
from lake_pipeline.kernel.results import Results
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.costs import Taken
from lake_pipeline.manifests import Manifest
from lake_pipeline.settings import Settings


def region_of(settings: Settings) -> str:
    """The region whose prices are taken: the one that AWS's tools are set to, if its prices are known."""
    if not _is_on_s3(settings):
        return DEFAULT_REGION
    import boto3  # which the store has imported anyway; commands on a directory wait for nothing

    region = boto3.session.Session().region_name
    return region if region in price_list().regions else DEFAULT_REGION


def attempt_bill(
    settings: Settings,
    dataset: Dataset,
    manifest: Manifest,
    results: Results,
    seconds: float,
    dpu_seconds: float | None,
) -> dict[str, Any]:
    """What an attempt took that was committed and archived after so many seconds."""
    work = Work(
        manifests=1,
        files=len(manifest.files),
        bytes=manifest.bytes,
        outputs=len(results.outputs),
        output_bytes=sum(output.bytes for output in results.outputs),
    )
    region = region_of(settings)
    machine, prices = machine_of(settings, settings.engine), price_list().of(region)
    reckoned = bill(
        settings.engine,
        work,
        seconds,
        dpu_seconds,
        prices,
        machine,
        on_s3=_is_on_s3(settings),
        archives=_archives(dataset),
    )
    return reckoned | {"region": region, "prices_of": price_list().as_of.isoformat()}


def machine_of(settings: Settings, engine: EngineName) -> Machine:
    """The machine that an engine converts on; for Glue a core that waits."""
    return Machine(1 if engine == "glue" else settings.threads or os.cpu_count() or 1)


def waiting_of(lake: Lake, dataset: Dataset) -> list[Waiting]:
    """What the ledger has that is not committed: files without a manifest by landing group, then planned manifests."""
    groups = [Waiting(group.files, group.bytes) for group in lake.ledger.backlog(dataset.name)]
    manifests, files, bytes_ = lake.ledger.planned_work(dataset.name)
    return [*groups, Waiting(files, bytes_, manifests)] if manifests else groups


def estimate_dataset(lake: Lake, dataset: Dataset, engine: EngineName, waiting: list[Waiting], region: str) -> Estimate:
    """What this would take, by what the dataset's last manifests took on that engine, or all datasets', or neither.

    Raises:
        UnknownRegion: there are no prices of it.
    """
    settings = lake.settings
    taken = next((found for name in (dataset.name, None) if (found := lake.ledger.taken(name, engine)).manifests), None)
    return estimate(
        engine,
        work_of(waiting, dataset.batch, _work(taken) if taken else None),
        dataset.batch,
        price_list().of(region),
        machine_of(settings, engine),
        measured=Measured(engine, _work(taken), taken.seconds, taken.dpu_seconds) if taken else None,
        on_s3=_is_on_s3(settings) or engine == "glue",
        archives=_archives(dataset),
        by_events=settings.events_queue is not None,
    )


def _work(taken: Taken) -> Work:
    return Work(taken.manifests, taken.files, taken.bytes, taken.outputs, taken.output_bytes)


def _archives(dataset: Dataset) -> bool:
    return dataset.archive.action == "move"


def _is_on_s3(settings: Settings) -> bool:
    return settings.store_url.startswith("s3://")
