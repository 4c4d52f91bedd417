"""`lake schema`: a dataset's columns, and how they came to be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from lake_pipeline.commands.options import DatasetName, Json
from lake_pipeline.lake import open_lake
from lake_pipeline.ledger.models import SchemaVersion
from lake_pipeline.reports import note, print_json, print_table, say, size_text, time_text
from lake_pipeline.schemas import type_name
from lake_pipeline.settings import load_settings

if TYPE_CHECKING:
    from lake_pipeline.preview import Preview

_HELP = ("-h", "--help")


class _ShowByDefault(TyperGroup):
    """`lake schema events` is `lake schema show events`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in _HELP:
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ShowByDefault,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Show a dataset's columns, or what its backlog would change. `lake schema events` shows the columns.",
)


@app.command(epilog="Example: lake schema show events")
def show(dataset: DatasetName, json: Json = False) -> None:
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


@app.command(epilog="Example: lake schema preview events")
def preview(dataset: DatasetName, json: Json = False) -> None:
    """Look at the whole backlog and say what it would do to the schema, before anything is converted.

    Files that are PENDING or not yet registered are read, batch by batch as they would be planned; nothing is
    converted, claimed or changed. Exits with 1 where a manifest would fail.

    JSON: files, bytes, records, added (columns), conflicts (values that would go to _rescued), unreadable (reason by
    file) and refusals (why manifests would fail).
    """
    from lake_pipeline.preview import preview_schema  # DuckDB and Arrow are slow to import

    with open_lake(load_settings()) as lake:
        declared = lake.dataset(dataset)
        found = preview_schema(lake, declared)
    if json:
        print_json({"dataset": declared.name, "mode": declared.schema_.mode, **asdict(found)})
    else:
        _print_preview(found, declared.schema_.mode)
    if found.refusals:
        raise typer.Exit(1)


def _print_preview(found: Preview, mode: str) -> None:
    say(f"{found.files:,} files, {size_text(found.bytes)}, {found.records:,} records; schema.mode is {mode}")
    if found.added:
        added = [[change.column, change.type, change.path, change.example] for change in found.added]
        fate = "would be added" if mode == "evolve" else f"no place in a known schema in mode {mode}"
        print_table(["column", "type", "source path", "first seen at"], added, title=f"\nNew columns: {fate}")
    if found.conflicts:
        conflicts = [[item.column, item.type, item.kind, item.example] for item in found.conflicts]
        print_table(["column", "type", "value", "first seen at"], conflicts, title="\nValues that do not fit")
    if found.unreadable:
        print_table(["file", "reason"], list(found.unreadable.items()), title="\nFiles that cannot be read")
    if found.refusals:
        print_table(["reason"], [[reason] for reason in found.refusals], title="\nManifests that would fail")


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
