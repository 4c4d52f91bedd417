"""Events of manifests, as EventBridge takes them; pure. Their details are these models, and docs/aws-alerts.md's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from lake_pipeline.dataset import Dataset
from lake_pipeline.ledger.news import ManifestNews
from lake_pipeline.manifests import manifest_key

SOURCE = "lake_pipeline"


class ManifestReady(BaseModel):
    """A manifest was planned, or planned again, and waits for its run."""

    version: int = Field(1, description="of this shape; rises where a field goes or changes its meaning")
    dataset: str
    manifest_id: str = Field(description="such as 2026-week07.0001")
    landing_group: str = Field(description="such as 2026/week07")
    manifest: str = Field(description="URI of the document that lists its files")
    files: int
    bytes: int = Field(description="of all its raw files")
    planned_at: datetime


class ManifestCompleted(BaseModel):
    """A manifest's rows were committed: the table shows them, and those of an earlier attempt no more."""

    version: int = Field(1, description="of this shape; rises where a field goes or changes its meaning")
    dataset: str
    manifest_id: str = Field(description="such as 2026-week07.0001")
    landing_group: str = Field(description="such as 2026/week07")
    attempt: int = Field(description="with the dataset and the manifest's id, this event's identity")
    engine: str
    files_succeeded: int
    files_quarantined: int
    rows_written: int = Field(description="rows of the manifest that are in the table")
    rows_rescued: int
    rows_quarantined: int
    rows_dropped: int
    bytes_read: int
    outputs: int = Field(description="curated files")
    output_prefix: str = Field(description="URI below which they are")
    failed_checks: dict[str, int] = Field(description="offending rows by check that failed and stopped nothing")
    seconds: float = Field(description="from the attempt's begin to the commit")
    committed_at: datetime


def details_of(news: ManifestNews, dataset: Dataset, store_url: str, engine: str) -> Iterator[BaseModel]:
    """What is told of the manifest on the bus."""
    if news.planned:
        yield ManifestReady(
            version=1,
            dataset=news.dataset,
            manifest_id=news.manifest_id,
            landing_group=news.landing_group,
            manifest=f"{store_url}/{manifest_key(dataset, news.manifest_id)}",
            files=news.files,
            bytes=news.bytes,
            planned_at=news.planned_at,
        )
    if news.completed and news.committed_at:
        yield ManifestCompleted(
            version=1,
            dataset=news.dataset,
            manifest_id=news.manifest_id,
            landing_group=news.landing_group,
            attempt=news.attempt,
            engine=engine,
            files_succeeded=news.succeeded_files,
            files_quarantined=news.quarantined_files,
            rows_written=news.rows,
            rows_rescued=news.counted("rows_rescued"),
            rows_quarantined=news.counted("rows_quarantined"),
            rows_dropped=news.rows_dropped,
            bytes_read=news.counted("bytes_read"),
            outputs=news.outputs,
            output_prefix=f"{store_url}/{dataset.output_prefix(news.landing_group)}",
            failed_checks=news.failed_checks,
            seconds=news.seconds,
            committed_at=news.committed_at,
        )


def entry(bus: str, detail: BaseModel) -> dict[str, Any]:
    """The event as `put_events` takes it."""
    return {
        "EventBusName": bus,
        "Source": SOURCE,
        "DetailType": type(detail).__name__,
        "Detail": detail.model_dump_json(),
    }


def schemas() -> dict[str, Any]:
    """The JSON Schema of each detail, by the event's detail-type."""
    models: tuple[type[BaseModel], ...] = (ManifestReady, ManifestCompleted)
    return {model.__name__: model.model_json_schema(mode="serialization") for model in models}
