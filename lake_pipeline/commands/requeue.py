"""`lake requeue`: files that are to be done again."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from lake_pipeline.commands.options import DatasetName, Json
from lake_pipeline.errors import NothingMatched
from lake_pipeline.guard import check_ledger
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.ledger.selectors import Selectors, selectors_text
from lake_pipeline.reports import print_json, print_table, printable, say, size_text
from lake_pipeline.requeue_plan import unread_files
from lake_pipeline.settings import load_settings

_SHOWN = 20

Keys = Annotated[list[str] | None, typer.Option("--key", help="A raw file's key; may be given several times.")]
Status = Annotated[
    Literal["SUCCEEDED", "FAILED", "QUARANTINED"] | None,
    typer.Option(case_sensitive=False, metavar="STATUS", help="In this state: SUCCEEDED, FAILED or QUARANTINED."),
]
ErrorClass = Annotated[
    str | None, typer.Option(help="Failed or quarantined with this class, such as Unreadable; `lake files --json`.")
]
ManifestId = Annotated[str | None, typer.Option("--manifest", help="Of this manifest, such as 2026-week07.0001.")]
Group = Annotated[str | None, typer.Option(help="Of this landing group, such as 2026/week07.")]
Partition = Annotated[
    str | None,
    typer.Option(help="Of manifests with outputs under this Hive partition, such as year=2026/month=2."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be rewritten and what cannot be read; change nothing.")
]


def requeue(
    dataset: DatasetName,
    key: Keys = None,
    status: Status = None,
    error_class: ErrorClass = None,
    manifest: ManifestId = None,
    group: Group = None,
    partition: Partition = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Send files back to PENDING, to be converted again by the next run.

    Name at least one selector; files are chosen for which all of them hold. A file with rows in the table takes its
    whole manifest along: its rows are replaced, never added.

    JSON: how many files, and how many whole manifests. With --dry-run: files, manifests (their ids), outputs, rows and
    bytes to be replaced, and unread (key, location, why).
    """
    selectors: Selectors = {
        "key": key,
        "status": status,
        "error_class": error_class,
        "manifest": manifest,
        "group": group,
        "partition": partition,
    }
    if not any(selectors.values()):
        raise typer.BadParameter(
            "name at least one of --key, --status, --error-class, --manifest, --group, --partition"
        )
    with open_lake(load_settings()) as lake:
        name = lake.dataset(dataset).name
        if dry_run:
            _show_plan(lake, name, selectors, json)
            return
        check_ledger(lake, [lake.dataset(dataset)])
        done = lake.ledger.requeue(name, **selectors)
        if not done.files:
            raise NothingMatched(f"{name} has no file to do again with {selectors_text(selectors)}: they wait already")
        if json:
            print_json({"files": done.files, "manifests": done.manifests})
        else:
            replayed = f", {_count(done.manifests, 'manifest')} to be replayed" if done.manifests else ""
            say(f"{_count(done.files, 'file')} back to PENDING{replayed}. Next: lake run {name}")


def _show_plan(lake: Lake, name: str, selectors: Selectors, json: bool) -> None:
    plan = lake.ledger.requeue_plan(name, **selectors)
    unread = unread_files(name, plan, lake.store, lake.ledger)
    if json:
        print_json(
            {
                "files": plan.files,
                "manifests": plan.manifests,
                "outputs": plan.outputs,
                "rows": plan.rows,
                "bytes": plan.bytes,
                "unread": list(unread),
                "dry_run": True,
            }
        )
        return
    headers = ["files", "without rows", "manifests", "outputs", "rows", "bytes"]
    counts = [plan.files, len(plan.loose), len(plan.manifests), plan.outputs, plan.rows, size_text(plan.bytes)]
    print_table(headers, [counts])
    lost = 0
    for file in unread:
        lost += 1
        if lost <= _SHOWN:
            say(printable(f"{file.key}: {file.why}; it should lie at {file.location}"))
    if lost > _SHOWN:
        say(f"and {lost - _SHOWN:,} more; --json names them")
    if lost:
        say(f"{_count(lost, 'raw file')} cannot be read: a manifest with one keeps its rows, and fails")
    else:
        say("every raw file of them is there to be read")
    say("nothing was changed")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
