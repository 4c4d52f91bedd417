"""What a materialization shows in the UI."""

from __future__ import annotations

import html
from collections import Counter
from typing import Any

import dagster as dg

from lake_pipeline.attempts import Outcome
from lake_pipeline.dataset import Dataset
from lake_pipeline.published import sample_rows
from lake_pipeline.schemas import Schema, type_name
from lake_pipeline.store import Store

_CELL = 40
_SAMPLE_COLUMNS = 12


def column_schema(schema: Schema) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(column.name, type_name(column.type), description=".".join(column.path))
            for column in schema.columns
        ]
    )


def curated_metadata(dataset: Dataset, outcome: Outcome, store: Store) -> dict[str, Any]:
    """Rows, bytes, partitions touched, what the schema gained, sample rows and throughput of one attempt."""
    results = outcome.results
    prefix = dataset.output_prefix(outcome.manifest.landing_group)
    partitions = sorted({file.path.rpartition("/")[0] for file in results.outputs})
    states = Counter(file.status for file in results.files)
    seconds = sum(results.seconds.values())
    metadata: dict[str, Any] = {
        "dagster/partition_row_count": results.rows_written,
        "dagster/column_schema": column_schema(results.schema),
        "dagster/uri": store.uri(prefix),
        "rows read": sum(file.rows_read for file in results.files),
        "rows exploded": sum(file.rows_exploded for file in results.files),
        "rows rescued": sum(file.rows_rescued for file in results.files),
        "rows quarantined": sum(file.rows_quarantined for file in results.files),
        **{f"rows dropped by {rule}": rows for rule, rows in results.dropped.items()},
        "rows erased": sum(file.rows_erased for file in results.files),
        "files succeeded": states["SUCCEEDED"],
        "files quarantined": states["QUARANTINED"],
        "files failed": states["FAILED"],
        "files archived": outcome.archived,
        "bytes read": results.bytes_read,
        "bytes written": sum(file.bytes for file in results.outputs),
        "files written": len(results.outputs),
        "attempt": outcome.attempt,
        "schema version": results.schema.version,
        "conversion seconds": round(seconds, 3),
        "throughput MB/s": round(results.bytes_read / max(seconds, 1e-3) / 1e6, 1),
        "cost USD": round(outcome.bill["dollars"], 6),
        "cost": dg.MetadataValue.json(outcome.bill),
        "partitions touched": dg.MetadataValue.md(
            "\n".join(
                [f"{len(partitions)} in all", "", *(f"- `{partition or '(none)'}`" for partition in partitions[:50])]
            )
        ),
    }
    if results.changes:
        metadata["schema changes"] = dg.MetadataValue.table(
            records=[dg.TableRecord(dict(change)) for change in results.changes]
        )
    if sample := sample_rows(store, [prefix + file.path for file in results.outputs]):
        metadata["sample rows"] = dg.MetadataValue.md(markdown_table(sample))
    return metadata


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Rows as a Markdown table, long values and wide rows cut."""
    names = list(rows[0])[:_SAMPLE_COLUMNS]
    lines = [f"| {' | '.join(map(_cell, names))} |", f"| {' | '.join('---' for _ in names)} |"]
    lines += [f"| {' | '.join(_cell(row[name]) for name in names)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    text = text if len(text) <= _CELL else text[: _CELL - 1] + "…"
    return html.escape(text).replace("|", "&#124;").replace("\n", " ")
