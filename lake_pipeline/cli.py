"""The command line `lake`."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

from lake_pipeline import __version__
from lake_pipeline.commands import (
    audit,
    datasets,
    demo,
    dev,
    dlq,
    doctor,
    erase,
    estimate,
    files,
    importing,
    migrate,
    pausing,
    prune,
    quarantine,
    query,
    rebuild,
    reconcile,
    requeue,
    run,
    schema,
    status,
)
from lake_pipeline.errors import LakeError
from lake_pipeline.exiting import ending_at_once
from lake_pipeline.reports import note

app = typer.Typer(
    name="lake",
    help="An open auto-loader for S3 lakes: raw files in, queryable Parquet out, every file accounted for.",
    epilog="Begin with: lake demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"lake {__version__}")
        raise typer.Exit


@app.callback()
def lake(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


app.command(epilog="Example: lake demo")(demo.demo)
app.command(epilog="Example: lake dev --port 3001")(dev.dev)
app.command(epilog="Example: lake run events")(run.run)
app.command(epilog="Example: lake doctor --json")(doctor.doctor)
app.command(epilog="Example: lake estimate events --engine glue")(estimate.estimate)
app.command(epilog="Example: lake status --json")(status.status)
app.command(epilog="Example: lake files events --status QUARANTINED")(files.files)
app.command(epilog='Example: lake query "select mode, count(*) from events group by 1"')(query.query)
app.command(epilog="Example: lake requeue events --manifest 2026-week07.0001")(requeue.requeue)
app.command(epilog="Example: lake erase events --where \"user_id = 'x'\" --dry-run")(erase.erase)
app.command(epilog="Example: lake erasures events --json")(erase.erasures)
app.command("import", epilog="Example: lake import events old/file_processing_status.csv --dry-run")(importing.import_)
app.command(epilog="Example: lake reconcile events --inventory s3://reports/lake/daily/")(reconcile.reconcile)
app.command(epilog="Example: lake rebuild --dry-run")(rebuild.rebuild)
app.command(epilog="Example: lake audit events --repair --dry-run")(audit.audit)
app.command(epilog="Example: LAKE_MIGRATION_DATABASE_URL=postgresql://owner@host/lake lake migrate")(migrate.migrate)
app.command(epilog='Example: lake pause --wait --reason "database upgrade"')(pausing.pause)
app.command(epilog="Example: lake resume events")(pausing.resume)
app.command(epilog="Example: lake prune --days 90 --dry-run")(prune.prune)
app.add_typer(schema.app, name="schema", epilog="Example: lake schema events")
app.add_typer(quarantine.app, name="quarantine", epilog="Example: lake quarantine list events")
app.add_typer(dlq.app, name="dlq", epilog="Example: lake dlq list")
app.add_typer(datasets.app, name="datasets", epilog="Example: lake datasets validate my-datasets/")


def _terminated(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> None:
    """Run the command of this process's arguments; exit 1 with one line on stderr where the lake says no."""
    # A kill then ends as an exit does: what was begun is undone, and the embedded Postgres is let go.
    signal.signal(signal.SIGTERM, _terminated)
    with ending_at_once():
        try:
            app(prog_name="lake")
        except LakeError as error:
            note(f"error: {error}")
            sys.exit(1)


if __name__ == "__main__":
    main()
