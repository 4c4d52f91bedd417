"""`lake schema`: a dataset's columns, and how they came to be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lake_pipeline.commands.options import DatasetName, Json
from lake_pipeline.lake import open_lake
from lake_pipeline.ledger.models import SchemaVersion
from lake_pipeline.reports import note, print_json, print_table, time_text
from lake_pipeline.schemas import type_name
from lake_pipeline.settings import load_settings


def schema(dataset: DatasetName, json: Json = False) -> None:
    """Show a dataset's columns, its schema's versions, and which manifest changed what when.

    JSON: an object with version, columns (name, type, path) and history.
    """
    with open_lake(load_settings()) as lake:
        name = lake.dataset(dataset).name
        current = lake.schema(name)
        history = lake.ledger.schema_history(name)
    columns = [(column.name, type_name(column.type), ".".join(column.path)) for column in current.columns]
    if json:
        print_json(
            {
                "dataset": name,
                "version": current.version,
                "columns": [dict(zip(("name", "type", "path"), column, strict=True)) for column in columns],
                "history": [_version(version) for version in history],
            }
        )
        return
    if not history:
        note(f"{name} has no columns yet: nothing of it has been converted")
        return
    print_table(["column", "type", "source path"], columns, title=f"{name}, version {current.version}")
    print_table(
        ["version", "when", "manifest", "change", "column", "type", "first seen at"],
        _changes(history),
        title="\nHistory",
    )


def _version(version: SchemaVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "created_at": version.created_at,
        "manifest_id": version.manifest_id,
        "changes": version.changes,
    }


def _changes(history: Iterable[SchemaVersion]) -> Iterable[list[object]]:
    for version in history:
        for change in version.changes:
            yield [
                version.version,
                time_text(version.created_at),
                version.manifest_id,
                *(change.get(field) for field in ("change", "column", "type", "example")),
            ]
