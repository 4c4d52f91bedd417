"""`lake quarantine`: what could not be read, and doing it again once it was mended."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lake_pipeline.commands.options import DatasetName, Json, MaybeDatasetName
from lake_pipeline.errors import NothingMatched
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.ledger.models import SetAsideFile
from lake_pipeline.reports import note, print_json, print_json_lines, print_table, printable, say, time_text
from lake_pipeline.settings import load_settings

if TYPE_CHECKING:
    from lake_pipeline.quarantine import SetAsideRecord

_HEAD_BYTES = 1024
_SHOWN_BYTES = 4096

app = typer.Typer(pretty_exceptions_enable=False, no_args_is_help=True, help="What could not be read, and why.")


@app.command("list", epilog="Example: lake quarantine list events")
def list_(dataset: MaybeDatasetName = None, json: Json = False) -> None:
    """List the files and records that were set aside.

    JSON: one object a line with dataset, file, line (null for a whole file), error_class, reason, manifest_id and
    quarantined_at.
    """
    from lake_pipeline.quarantine import set_aside  # DuckDB and Arrow are slow to import

    with open_lake(load_settings()) as lake:
        names = [found.name for found in lake.chosen([dataset] if dataset else None)]
        found = (entry for name in names for entry in set_aside(lake.store, lake.ledger, name))
        if json:
            print_json_lines(map(asdict, found))
            return
        headers = ["dataset", "file", "line", "class", "reason", "manifest", "when"]
        cells = (
            [*list(asdict(entry).values())[:-1], time_text(entry.quarantined_at) if entry.quarantined_at else None]
            for entry in found
        )
        if not print_table(headers, cells):
            note("nothing is set aside")


@app.command(epilog="Example: lake quarantine show events raw-json-data/2026/week07/drop-2.json --line 601")
def show(
    dataset: DatasetName,
    key: Annotated[str, typer.Argument(help="The raw file's key, as it landed.")],
    line: Annotated[int | None, typer.Option(min=1, help="Only the record of this line.")] = None,
    json: Json = False,
) -> None:
    """Show why a file or its records were set aside, and the raw text; of a file its first bytes.

    JSON: one object a line with file, line, reason, and raw or raw_base64; text that is cut is not cut here.
    """
    with open_lake(load_settings()) as lake:
        name = lake.dataset(dataset).name
        shown = False
        for document in _documents(lake, name, key, line):
            shown = True
            if json:
                print_json_lines([document])
            else:
                _print_document(document)
        if not shown:
            raise NothingMatched(f"{name} has nothing in quarantine of {key}{f' at line {line}' if line else ''}")


def _documents(lake: Lake, dataset: str, key: str, line: int | None) -> Iterator[dict[str, Any]]:
    from lake_pipeline.quarantine import records

    for file in lake.ledger.set_aside(dataset, key=key):
        if file.status == "SUCCEEDED":
            document = lake.ledger.manifest(dataset, file.manifest_id).quarantined_records
            for record in records(lake.store, document) if document else ():
                if record.file == key and line in (None, record.line):
                    yield _record(record)
        elif line is None:
            yield _file(lake, file)


def _record(record: SetAsideRecord) -> dict[str, Any]:
    return {"file": record.file, "line": record.line, "reason": record.reason, **_raw(record.raw)}


def _file(lake: Lake, file: SetAsideFile) -> dict[str, Any]:
    head = lake.store.head_bytes(file.location, _HEAD_BYTES)
    place = {"location": file.location, "size": file.size}
    return {"file": file.key, "line": None, "reason": file.error_message, **place, **_raw(head)}


def _raw(data: bytes) -> dict[str, str]:
    try:
        return {"raw": data.decode()}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(data).decode()}


def _print_document(document: dict[str, Any]) -> None:
    where = f"line {document['line']}" if document["line"] else f"{document['size']:,} bytes at {document['location']}"
    say(printable(f"{document['file']}, {where}: {document['reason']}"))
    data = base64.b64decode(document["raw_base64"]) if "raw_base64" in document else document["raw"].encode()
    for text in data[:_SHOWN_BYTES].decode(errors="backslashreplace").split("\n"):
        say(f"  {printable(text)}".rstrip())
    if len(data) > _SHOWN_BYTES:
        say(f"  … {len(data) - _SHOWN_BYTES:,} bytes more; --json shows them")


@app.command("replay", epilog="Example: lake quarantine replay events --all --dry-run")
def replay_(
    dataset: DatasetName,
    key: Annotated[str | None, typer.Option(help="What was set aside of this file.")] = None,
    manifest: Annotated[str | None, typer.Option(help="What was set aside by this manifest.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that is set aside.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    json: Json = False,
) -> None:
    """Convert again what was set aside, after the declaration or the file was mended.

    Each record is added once: a file's records go back with their whole manifest, whose rows are replaced; files that
    were set aside whole go into a new manifest. A file may be mended where it lies now, or landed anew.

    JSON: files, records, manifests (to be written anew), mended (keys that land again) and dry_run.
    """
    from lake_pipeline.replay import plan_replay, replay  # DuckDB and Arrow are slow to import

    if (key is not None) + (manifest is not None) + everything != 1:
        raise typer.BadParameter("name exactly one of --key, --manifest and --all")
    with open_lake(load_settings()) as lake:
        declared = lake.dataset(dataset)
        plan = plan_replay(lake, declared, key=key, manifest=manifest)
        if not dry_run:
            replay(lake, declared, plan)
        manifests = [lake.ledger.manifest(declared.name, name) for name in sorted(plan.manifests)]
    if json:
        print_json(
            {
                "files": len(plan.files),
                "records": plan.records,
                "manifests": [row.manifest_id for row in manifests],
                "mended": [file.key for file in plan.mended],
                "dry_run": dry_run,
            }
        )
        return
    for file in plan.mended:
        say(printable(f"{file.key}: mended; lands again as a new version"))
    if plan.files:
        say(f"files set aside whole, for a new manifest: {len(plan.files):,}")
    for row in manifests:
        say(f"manifest {row.manifest_id}: the rows of its {row.files:,} files are written anew, each once")
    say("nothing was changed" if dry_run else f"back to PENDING. Next: lake run {declared.name}")
