"""`lake run`: everything that is pending, now."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from lake_pipeline.commands.options import DatasetNames
from lake_pipeline.commands.progress import RunDisplay
from lake_pipeline.dataset import Dataset
from lake_pipeline.draining import draining
from lake_pipeline.errors import LakePaused, RunFailed
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.ledger.models import FILE_STATUSES
from lake_pipeline.ledger.postgres import starting_embedded
from lake_pipeline.loading import large_imports
from lake_pipeline.reports import note, print_table
from lake_pipeline.settings import Settings, load_settings


def run(
    datasets: DatasetNames = None,
    files_from: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Only the raw files that this file, or - for standard input, lists."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show Dagster's log as well.")] = False,
) -> None:
    """Find new files by listing and convert them, until nothing is pending.

    Runs the same assets on the same instance as the daemon of lake dev, so that the UI shows them.
    Exits with 1 where a file or a manifest has failed for good, or all is paused.

    Told to stop by SIGTERM, it begins nothing more, lets what is under way end within LAKE_GRACE_SECONDS or else gives
    it back, says what is left, and exits with 0. Ctrl-C and a second SIGTERM do not wait.

    --files-from takes one key a line, of one dataset: only these are registered and run. A key that is neither in the
    store nor in the ledger is an error, and then nothing is run.
    """
    if files_from is not None and len(datasets or []) != 1:
        raise typer.BadParameter("--files-from needs the name of one dataset")
    keys = _read_keys(files_from) if files_from is not None else None
    settings = load_settings()
    with starting_embedded(settings), large_imports():
        from lake_pipeline.defs.running import run_datasets  # Dagster takes seconds to import

    with draining(settings.grace_seconds, lambda: _note_told(settings)) as drain, open_lake(settings) as lake:
        chosen = _not_paused(lake, lake.chosen(datasets))
        with RunDisplay(lake) as display:
            try:
                run_datasets(lake, chosen, display.tell, keys=keys, verbose=verbose, is_told_to_stop=drain.told.is_set)
                drain.ended.set()
            except KeyboardInterrupt:
                if not drain.expired:
                    raise
        _print_summary(lake, chosen, display)
        if drain.told.is_set():
            _note_left(lake, chosen)
        elif keys is None:
            _refuse_failures(lake, chosen)
        else:
            _refuse_failed_keys(lake, chosen[0], keys)


def _not_paused(lake: Lake, chosen: list[Dataset]) -> list[Dataset]:
    """Those of the datasets of which work may begin; the others are noted, or refused where they are all.

    Raises:
        LakePaused: nothing is left.
    """
    pauses = [found for dataset in chosen if (found := lake.ledger.pauses().get(dataset.name))]
    if pauses and len(pauses) == len(chosen):
        raise LakePaused("; ".join(map(str, pauses)) + "; lake resume")
    for pause in pauses:
        note(f"{pause}; left out")
    paused = {pause.dataset for pause in pauses}
    return [dataset for dataset in chosen if dataset.name not in paused]


def _note_told(settings: Settings) -> None:
    note(f"told to stop: what is under way may go on for {settings.grace_seconds:g} s, and nothing more is begun")


def _note_left(lake: Lake, chosen: list[Dataset]) -> None:
    """What the next run is to do, after one that was told to stop."""
    left = {dataset.name: lake.ledger.backlog_summary(dataset.name).files for dataset in chosen}
    files = [f"{count:,} files of {name}" for name, count in left.items() if count]
    note(f"told to stop: {', '.join(files) or 'nothing'} left for the next run")


def _read_keys(source: str) -> list[str]:
    """The keys of a list, each once, in its order; blank lines are left out."""
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{source} cannot be read: {error}") from error
    return list(dict.fromkeys(line for line in text.splitlines() if line.strip()))


def _print_summary(lake: Lake, chosen: list[Dataset], display: RunDisplay) -> None:
    counts = lake.ledger.status()
    totals = {dataset.name: _commit_totals(lake, dataset) for dataset in chosen}
    rows = [
        [
            dataset.name,
            display.manifests[dataset.name],
            *(counts.get(dataset.name, {}).get(state, 0) for state in FILE_STATUSES),
            lake.ledger.committed_rows(dataset.name),
            totals[dataset.name]["rows_rescued"],
            totals[dataset.name]["rows_quarantined"],
            round(display.seconds[dataset.name], 1),
        ]
        for dataset in chosen
    ]
    print_table(
        ["dataset", "manifests run", *FILE_STATUSES, "rows in table", "rescued", "quarantined", "seconds"], rows
    )
    for name, total in totals.items():
        if total["rows_rescued"]:
            note(
                f"{name}: values that did not fit their columns are in _rescued; `lake schema {name}`"
                " has the types, and schema.hints sets them before the first run"
            )


def _commit_totals(lake: Lake, dataset: Dataset) -> Counter[str]:
    """Rows rescued and quarantined, over the commits that make up the table."""
    totals: Counter[str] = Counter()
    for manifest in lake.ledger.manifests(dataset.name):
        for metric in ("rows_rescued", "rows_quarantined"):
            totals[metric] += (manifest.metrics or {}).get(metric, 0)
    return totals


def _refuse_failed_keys(lake: Lake, dataset: Dataset, keys: list[str]) -> None:
    failed = [key for key, status in lake.ledger.statuses(dataset.name, keys).items() if status == "FAILED"]
    if failed:
        raise RunFailed(f"{', '.join(failed)}; lake files {dataset.name} --status FAILED says why")


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
