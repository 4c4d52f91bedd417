"""`lake prune`: Dagster's event log made shorter."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from lake_pipeline.commands.options import Json
from lake_pipeline.lake import open_lake
from lake_pipeline.ledger.postgres import starting_embedded
from lake_pipeline.loading import large_imports
from lake_pipeline.reports import print_json, say, time_text
from lake_pipeline.settings import load_settings


def prune(
    days: Annotated[int, typer.Option(min=1, help="Of runs that were begun longer ago than this.")] = 90,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many lines there are.")] = False,
    json: Json = False,
) -> None:
    """Delete what Dagster's old runs said while they ran: some 20 KB a run, which nothing else ever deletes.

    The runs stay, and what they materialized and checked, so that the UI shows assets and partitions as before; only
    the log of an old run is empty. The ledger is not touched: retention.file_records of a declaration is for that.
    Ticks of sensors and schedules go by themselves, as dagster.yaml's retention says. May be repeated, and run beside
    everything.

    JSON: lines, how many, before (the time) and dry_run.
    """
    settings = load_settings()
    with starting_embedded(settings), large_imports():
        from lake_pipeline.defs.instance import open_instance, storage_errors  # Dagster takes seconds to import
        from lake_pipeline.defs.pruning import prune_events

    with open_lake(settings) as lake:
        before = lake.ledger.now() - timedelta(days=days)
        with storage_errors(), open_instance(settings) as instance:
            lines = prune_events(instance, before, dry_run=dry_run)
    if json:
        print_json({"lines": lines, "before": before, "dry_run": dry_run})
    else:
        say(f"{lines:,} lines of runs from before {time_text(before)} {'would be' if dry_run else 'were'} deleted")
