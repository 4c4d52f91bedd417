"""`lake status`: where every dataset stands."""

from __future__ import annotations

from datetime import timedelta

from lake_pipeline.commands.options import Json, MaybeDatasetName
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.ledger.models import FILE_STATUSES
from lake_pipeline.reports import duration_text, note, print_json, print_table, size_text, time_text
from lake_pipeline.settings import load_settings

_MANIFESTS = 5
_MANIFESTS_OF_ONE = 20


def status(dataset: MaybeDatasetName = None, json: Json = False) -> None:
    """Show files by state, the backlog and the last manifests.

    JSON: an object with one entry a dataset, its files by state.
    """
    with open_lake(load_settings()) as lake:
        counts = lake.ledger.status()
        # A dataset whose declaration is gone still has its files in the ledger.
        names = [lake.dataset(dataset).name] if dataset else sorted({*lake.datasets, *counts})
        if json:
            print_json({name: counts.get(name, {}) for name in names})
            return
        now = lake.ledger.now()
        rows = []
        for name in names:
            backlog = lake.ledger.backlog_summary(name)
            age = duration_text(now - backlog.oldest) if backlog.oldest else ""
            states = [counts.get(name, {}).get(state, 0) for state in FILE_STATUSES]
            rows.append([name, *states, size_text(backlog.bytes) if backlog.files else "", age])
        print_table(["dataset", *FILE_STATUSES, "backlog", "age"], rows)
        _print_manifests(lake, names, _MANIFESTS_OF_ONE if dataset else _MANIFESTS)
        _print_estimates(lake, names)
        _note_circuits(lake)
        for pause in lake.ledger.pauses().values():
            note(f"{pause}; lake resume {pause.dataset}")


def _print_manifests(lake: Lake, names: list[str], most: int) -> None:
    rows = [
        [
            name,
            manifest.manifest_id,
            manifest.state,
            manifest.attempt,
            manifest.files,
            manifest.rows,
            time_text(manifest.changed_at),
            manifest.error_message,
        ]
        for name in names
        for manifest in lake.ledger.latest_manifests(name, most)
    ]
    if rows:
        headers = ["dataset", "manifest", "state", "attempt", "files", "rows", "since", "error"]
        print_table(headers, rows, title="\nLast manifests")


def _print_estimates(lake: Lake, names: list[str]) -> None:
    """What was estimated last, and what was spent since; a dataset without an estimate is left out."""
    rows = []
    for name in names:
        if (made := lake.ledger.saved_estimate(name)) is None:
            continue
        spent = lake.ledger.taken_since(name, made.made_at)
        for what, figures in ((f"estimated, {made.engine}", made), ("spent since", spent)):
            rows.append(
                [
                    name,
                    what,
                    time_text(made.made_at),
                    figures.manifests,
                    figures.files,
                    size_text(figures.bytes),
                    duration_text(timedelta(seconds=figures.seconds)),
                    round(figures.dpu_seconds / 3600, 2),
                    round(figures.dollars, 4),
                ]
            )
    if rows:
        headers = ["dataset", "", "as of", "manifests", "files", "bytes", "attempts took", "DPU-hours", "$"]
        print_table(headers, rows, title="\nEstimate and cost")


def _note_circuits(lake: Lake) -> None:
    for name, circuit in lake.ledger.open_circuits().items():
        until = f" until {time_text(circuit.open_until)}" if circuit.open_until else ""
        note(f"{name} is left alone{until}: {circuit.failures} failures in a row, the last {circuit.last_error}")
