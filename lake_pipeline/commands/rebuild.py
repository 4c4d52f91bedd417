"""`lake rebuild`: the ledger made anew from what is in the store."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lake_pipeline.commands.options import DatasetNames, Json
from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import RebuildIncomplete
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.reports import note, print_json, print_table, printable, say
from lake_pipeline.settings import load_settings

if TYPE_CHECKING:
    from lake_pipeline.rebuild.dataset import Rebuilt

_MEANINGS = {
    "output_missing": "outputs are gone; their manifests are converted again from the raw files",
    "output_differs": "outputs are not what was committed; their manifests are converted again, and these left alone",
    "raw_missing": "raw files are neither where they landed nor where they were moved to",
    "unaccounted": "files in the archive or in quarantine are in no document; land them again to have them converted",
    "unresolved": "outputs of manifests that can neither be converted again nor be taken as they are; left alone",
    "leftover": "outputs of attempts that no document lists; the next run deletes them",
    "document_damaged": "commit documents cannot be read; their manifests are converted again from the raw files",
    "schema_missing": "versions of the schema are not all there; `lake schema` shows what is",
}
# What leaves rows or files out of the ledger.
_LOSSES = ("unaccounted", "unresolved", "schema_missing")


def rebuild(
    datasets: DatasetNames = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be rebuilt.")] = False,
    documents: Annotated[
        bool, typer.Option("--documents", help="The other way round: the store's documents, from this ledger.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Replace rows without asking.")] = False,
    json: Json = False,
) -> None:
    """Make the ledger anew from what is in the store, where it was lost, is older than the lake, or is another's.

    Every commit is written down below _lake/ in the store. Outputs are held to their sizes and footers, raw files found
    where they landed, in the archive or in quarantine. What has no document is converted again. Raw files that were
    never converted are found by the next lake run. All of a dataset is replaced, or nothing. Nothing else may run.

    With --documents this ledger is taken for right, and identity, commits and schemas in the store are written anew.

    Exits with 1 where something could not be accounted for.

    JSON: an object with one entry a dataset: manifests, planned (those to be converted again), files, outputs, rows,
    schema_versions and findings, each with kind, count and examples. With --documents: commits written, by dataset.
    """
    from lake_pipeline.rebuild.dataset import rebuild_dataset  # Arrow is slow to import
    from lake_pipeline.rebuild.identity import adopt_store, write_documents

    if documents and dry_run:
        raise typer.BadParameter("--documents has no --dry-run")
    with open_lake(load_settings()) as lake:
        chosen = lake.chosen(datasets)
        if documents:
            _confirm(yes, f"what {lake.store.url} says of itself is replaced")
            written = write_documents(lake, chosen)
            print_json(written) if json else print_table(["dataset", "commits"], list(written.items()))
            return
        if not dry_run:
            _confirm_loss(yes, lake, chosen)
        done = [rebuild_dataset(lake, dataset, dry_run=dry_run) for dataset in chosen]
        if not dry_run:
            adopt_store(lake)
    if json:
        print_json({each.dataset: {k: v for k, v in asdict(each).items() if k != "dataset"} for each in done})
    else:
        _print(done, dry_run)
    if lost := [each.dataset for each in done if any(found.kind in _LOSSES for found in each.findings)]:
        raise RebuildIncomplete(f"{', '.join(lost)}; see above, and the audit of outputs and archive")


def _confirm_loss(yes: bool, lake: Lake, chosen: list[Dataset]) -> None:
    if known := [dataset.name for dataset in chosen if lake.ledger.knows(dataset.name)]:
        _confirm(yes, f"the ledger has rows of {', '.join(known)}, which are replaced")


def _confirm(yes: bool, what: str) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{what}: say --yes")
    typer.confirm(f"{what}. Go on?", abort=True)


def _print(done: list[Rebuilt], dry_run: bool) -> None:
    columns = ["manifests", "planned", "files", "outputs", "rows", "schema_versions"]
    print_table(["dataset", *columns], [[each.dataset, *(getattr(each, c) for c in columns)] for each in done])
    for each in done:
        for found in each.findings:
            shown = ", ".join(found.examples[:3]) + (", …" if found.count > len(found.examples[:3]) else "")
            note(f"{each.dataset}: {found.count:,} {_MEANINGS[found.kind]}: {printable(shown)}")
    say("nothing was changed" if dry_run else "the ledger is rebuilt. Next: lake run")
