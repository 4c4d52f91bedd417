"""`lake run`: everything that is pending, now."""

from __future__ import annotations

from typing import Annotated

import typer

from lake_pipeline.commands.options import DatasetNames
from lake_pipeline.commands.progress import RunDisplay
from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import RunFailed
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.ledger.models import FILE_STATUSES
from lake_pipeline.reports import print_table
from lake_pipeline.settings import load_settings


def run(
    datasets: DatasetNames = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show Dagster's log as well.")] = False,
) -> None:
    """Find new files and convert them, until nothing is pending.

    Runs the same assets on the same instance as the daemon of lake dev, so that the UI shows them.
    Exits with 1 where a file or a manifest has failed for good.
    """
    from lake_pipeline.defs.running import run_datasets  # Dagster takes seconds to import

    with open_lake(load_settings()) as lake:
        chosen = lake.chosen(datasets)
        with RunDisplay(lake) as display:
            run_datasets(lake, chosen, display.tell, verbose=verbose)
        _print_summary(lake, chosen, display)
        _refuse_failures(lake, chosen)


def _print_summary(lake: Lake, chosen: list[Dataset], display: RunDisplay) -> None:
    counts = lake.ledger.status()
    rows = [
        [
            dataset.name,
            display.manifests[dataset.name],
            *(counts.get(dataset.name, {}).get(state, 0) for state in FILE_STATUSES),
            sum(output.rows for output in lake.ledger.committed_outputs(dataset.name)),
            round(display.seconds[dataset.name], 1),
        ]
        for dataset in chosen
    ]
    print_table(["dataset", "manifests run", *FILE_STATUSES, "rows in table", "seconds"], rows)


def _refuse_failures(lake: Lake, chosen: list[Dataset]) -> None:
    counts = lake.ledger.status()
    problems = []
    for dataset in chosen:
        if files := counts.get(dataset.name, {}).get("FAILED", 0):
            problems.append(f"{files:,} of {dataset.name}'s files; lake files {dataset.name} --status FAILED says why")
        elif manifests := [row.manifest_id for row in lake.ledger.manifests(dataset.name) if row.state == "FAILED"]:
            problems.append(f"{dataset.name}'s {', '.join(manifests)}; lake status {dataset.name} says why")
    if problems:
        raise RunFailed("; ".join(problems))
