"""`lake import`: files that an old system has converted are done here too."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lake_pipeline.commands.options import DatasetName, Json
from lake_pipeline.lake import open_lake
from lake_pipeline.reports import note, print_json, print_table, printable, say
from lake_pipeline.settings import load_settings

if TYPE_CHECKING:
    from lake_pipeline.importing.importing import Imported
    from lake_pipeline.importing.old_files import Columns
    from lake_pipeline.importing.old_table import OldTable

_SHOWN = 3


def _column(what: str, usual: str) -> typer.models.OptionInfo:
    help_ = f"The column of {what}, where it has another name than {usual} and the like."
    option: typer.models.OptionInfo = typer.Option(metavar="NAME", help=help_)
    return option


def import_(
    dataset: DatasetName,
    source: Annotated[
        str | None,
        typer.Argument(
            help="The old table: a CSV, NDJSON, JSON or Parquet file, a folder of such, or an export of DynamoDB to S3"
            " with its manifest-files.json; a path or s3://bucket/key. Left out: a table of LAKE_IMPORT_DATABASE_URL."
        ),
    ] = None,
    table: Annotated[
        str, typer.Option(help="Which table of LAKE_IMPORT_DATABASE_URL, such as public.file_processing_status.")
    ] = "file_processing_status",
    key_column: Annotated[str | None, _column("a file's key or URL", "s3_key")] = None,
    state_column: Annotated[str | None, _column("its state", "status")] = None,
    etag_column: Annotated[str | None, _column("its ETag, if there is one", "etag")] = None,
    time_column: Annotated[str | None, _column("the time when it was done, if there is one", "processed_at")] = None,
    done: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATE",
            help="A state of files that are done, in any case; may be repeated. Without it: SUCCEEDED, SUCCESS,"
            " SUCCESSFUL, COMPLETED, COMPLETE, DONE, PROCESSED, ARCHIVED.",
        ),
    ] = None,
    key_prefix: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="What the old keys begin with in place of the lake's root: s3://old-bucket/."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become of the files.")] = False,
    json: Json = False,
) -> None:
    """Take over what an old system has done, so that nothing is processed again.

    The dataset's prefix, and the archive's, are listed beside the old table. A file that is done there is SUCCEEDED
    here, in a manifest that is COMMITTED and has no rows; any other is PENDING, for the next lake run. Done is what has
    a state of --done and still has the ETag that the table says, or, where it says none, landed before it was done.
    Nothing in the store is changed but what the lake says of itself below _lake/. May be repeated: nothing is done
    twice.

    lake requeue converts imported files after all, by manifest, key or group.

    JSON: rows (by state: count and done), elsewhere (rows of other keys), columns, files (done, known, waiting,
    changed, new and missing), manifests, examples (of changed and missing) and dry_run.
    """
    from lake_pipeline.importing.importing import import_files  # DuckDB and Arrow are slow to import
    from lake_pipeline.importing.loading import Old, loaded
    from lake_pipeline.importing.old_files import DONE, Wanted

    wanted = Wanted(key_column, state_column, etag_column, time_column)
    settings = load_settings()
    with open_lake(settings) as lake:
        chosen = lake.dataset(dataset)
        with loaded(settings, chosen, Old(source, table, wanted, done or DONE, key_prefix)) as (old, columns):
            found = import_files(lake, chosen, old.files(), dry_run=dry_run, on_progress=_tell)
            report = _report(old, columns, found, dry_run)
    if json:
        print_json(report)
    else:
        _print(report, dataset)


def _tell(so_far: Imported) -> None:
    note(f"{so_far.files.total():,} files compared, {so_far.files['done']:,} of them done")


def _report(old: OldTable, columns: Columns, found: Imported, dry_run: bool) -> dict[str, Any]:
    counts = old.count()
    return {
        "rows": {state: {"count": count, "done": old.is_done(state)} for state, count in counts.states.items()},
        "elsewhere": counts.elsewhere,
        "columns": asdict(columns),
        "files": dict(found.files),
        "manifests": found.manifests,
        "examples": found.examples,
        "dry_run": dry_run,
    }


def _print(report: dict[str, Any], dataset: str) -> None:
    from lake_pipeline.importing.judging import VERDICTS

    states = [
        [state, row["count"], "yes" if row["done"] else "no: see --done"] for state, row in report["rows"].items()
    ]
    print_table(["state", "rows", "done"], states)
    print_table(
        ["files", "", "which are"], [[report["files"][name], name, VERDICTS[name]] for name in VERDICTS], title="\n"
    )
    for verdict, keys in report["examples"].items():
        if keys:
            note(f"{verdict}: {printable(', '.join(keys[:_SHOWN]))}{', …' if len(keys) > _SHOWN else ''}")
    if report["elsewhere"]:
        note(f"{report['elsewhere']:,} rows are of keys of other prefixes; if they are of {dataset}, see --key-prefix")
    if report["dry_run"]:
        say("nothing was changed")
    else:
        say(f"{report['manifests']:,} manifests of files that are done. Next: lake run {dataset}")
