"""CloudWatch's metrics of a lake, with the dimensions dataset and engine; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from lake_pipeline.ledger.models import FILE_STATUSES, BacklogSummary, FileTotals
from lake_pipeline.ledger.news import ManifestNews

Datum = dict[str, Any]


def datum(name: str, value: float, unit: str, engine: str, dataset: str | None = None) -> Datum:
    """One value as `put_metric_data` takes it."""
    dimensions = {"engine": engine} | ({"dataset": dataset} if dataset else {})
    return {
        "MetricName": name,
        "Value": float(value),
        "Unit": unit,
        "Dimensions": [{"Name": key, "Value": text} for key, text in sorted(dimensions.items())],
    }


def counts_of(news: ManifestNews, max_retries: int, engine: str) -> Iterator[Datum]:
    """What an attempt that ended adds to the counts."""
    if news.completed:
        yield datum("ManifestsCompleted", 1, "Count", engine, news.dataset)
        yield datum("RowsWritten", news.rows, "Count", engine, news.dataset)
        yield datum("RowsRescued", news.counted("rows_rescued"), "Count", engine, news.dataset)
        yield datum("RowsQuarantined", news.counted("rows_quarantined"), "Count", engine, news.dataset)
        yield datum("RowsDropped", news.rows_dropped, "Count", engine, news.dataset)
        yield datum("BytesRead", news.counted("bytes_read"), "Bytes", engine, news.dataset)
        yield datum("ManifestSeconds", news.seconds, "Seconds", engine, news.dataset)
    if news.failed:
        yield datum("ManifestsFailed", 1, "Count", engine, news.dataset)
        yield datum("Retries", int(news.failures <= max_retries), "Count", engine, news.dataset)


def gauges_of(
    dataset: str, totals: Mapping[str, FileTotals], backlog: BacklogSummary, engine: str, now: datetime
) -> Iterator[Datum]:
    """How a dataset stands: files and bytes by state, and the age of the oldest file that is not converted."""
    for status in FILE_STATUSES:
        total = totals.get(status)
        yield datum(f"Files{status.title()}", total.files if total else 0, "Count", engine, dataset)
        yield datum(f"Bytes{status.title()}", total.bytes if total else 0, "Bytes", engine, dataset)
    age = (now - backlog.oldest).total_seconds() if backlog.oldest else 0
    yield datum("BacklogAge", max(age, 0), "Seconds", engine, dataset)
