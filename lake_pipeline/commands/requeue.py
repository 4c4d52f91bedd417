"""`lake requeue`: files that are to be done again."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from lake_pipeline.commands.options import DatasetName, Json
from lake_pipeline.errors import NothingMatched
from lake_pipeline.guard import check_ledger
from lake_pipeline.lake import open_lake
from lake_pipeline.reports import print_json, say
from lake_pipeline.settings import load_settings

Status = Annotated[
    Literal["SUCCEEDED", "FAILED", "QUARANTINED"] | None,
    typer.Option(
        case_sensitive=False, metavar="STATUS", help="Every file in this state: SUCCEEDED, FAILED or QUARANTINED."
    ),
]


def requeue(
    dataset: DatasetName,
    key: Annotated[str | None, typer.Option(help="The file of this key, with its manifest.")] = None,
    status: Status = None,
    manifest: Annotated[str | None, typer.Option(help="Every file of this manifest.")] = None,
    json: Json = False,
) -> None:
    """Send files back to PENDING, to be converted again by the next run.

    Name exactly one of --key, --status and --manifest. Rows that are in the table already are replaced, not added.

    JSON: how many files, and how many whole manifests.
    """
    if [key, status, manifest].count(None) != 2:
        raise typer.BadParameter("name exactly one of --key, --status and --manifest")
    with open_lake(load_settings()) as lake:
        name = lake.dataset(dataset).name
        check_ledger(lake, [lake.dataset(dataset)])
        done = lake.ledger.requeue(name, key=key, status=status, manifest=manifest)
        if not done.files:
            raise NothingMatched(f"{name} has no file to do again with {_selector(key, status, manifest)}")
        if json:
            print_json({"files": done.files, "manifests": done.manifests})
        else:
            replayed = f", {_count(done.manifests, 'manifest')} to be replayed" if done.manifests else ""
            say(f"{_count(done.files, 'file')} back to PENDING{replayed}. Next: lake run {name}")


def _selector(key: str | None, status: str | None, manifest: str | None) -> str:
    return f"key {key}" if key else f"status {status}" if status else f"manifest {manifest}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
