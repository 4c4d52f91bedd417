"""`lake reconcile`: the ledger brought up to what lies in the store."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lake_pipeline.commands.options import DatasetNames, Json
from lake_pipeline.discovery.chosen_report import chosen_report
from lake_pipeline.discovery.listing import Discovered
from lake_pipeline.discovery.reconcile import reconcile as reconcile_dataset
from lake_pipeline.lake import open_lake
from lake_pipeline.reports import note, print_json, print_table
from lake_pipeline.settings import load_settings


def reconcile(
    datasets: DatasetNames = None,
    inventory: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Read this report of S3 Inventory: its manifest.json, or the folder of all its reports."
            " Without it, LAKE_INVENTORY, and without that, or while it has no report yet, a listing.",
        ),
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="Break off after so long, for each dataset.")] = None,
    requests: Annotated[
        int | None,
        typer.Option(min=1, help="Break off after so many LISTs of 1,000 keys, or as many rows of a report."),
    ] = None,
    json: Json = False,
) -> None:
    """Register what lies in the store and what no event told of; nothing is converted.

    Lists each dataset's prefix, or reads a report of S3 Inventory, which needs no listing. What is broken off goes on
    from there the next time.

    JSON: an object with one entry a dataset: listed, new, known, skipped and complete.
    """
    found: dict[str, Discovered] = {}
    with open_lake(load_settings()) as lake:
        report = chosen_report(lake, inventory, note)
        for dataset in lake.chosen(datasets):

            def tell(so_far: Discovered, name: str = dataset.name) -> None:
                note(f"{name}: {so_far.listed:,} files listed, {so_far.new:,} new")

            found[dataset.name] = reconcile_dataset(
                lake,
                dataset,
                report=report,
                seconds=seconds,
                requests=requests,
                on_progress=tell,
            )
    if json:
        print_json({name: asdict(each) for name, each in found.items()})
        return
    print_table(
        ["dataset", "listed", "new", "known", "skipped", "complete"],
        [[name, *asdict(each).values()] for name, each in found.items()],
    )
    if not all(each.complete for each in found.values()):
        note("what was broken off goes on from there the next time")
