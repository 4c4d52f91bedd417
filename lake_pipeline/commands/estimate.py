"""`lake estimate`: what a backfill will take, before it is begun."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

import typer

from lake_pipeline.commands.options import DatasetName, Json
from lake_pipeline.costing import estimate_dataset, region_of, waiting_of
from lake_pipeline.costs.estimate import Estimate, Waiting
from lake_pipeline.costs.pace import ENGINES, EngineName
from lake_pipeline.costs.prices import price_list
from lake_pipeline.errors import NothingWaits
from lake_pipeline.lake import open_lake
from lake_pipeline.notation import bytes_of
from lake_pipeline.reports import duration_text, note, print_json, print_table, size_text
from lake_pipeline.settings import load_settings

Engine = Annotated[
    EngineName | None,
    typer.Option(case_sensitive=False, metavar="ENGINE", help="Only this one: local, spark or glue; all if left out."),
]
Files = Annotated[int | None, typer.Option(min=1, help="As if so many files waited, and nothing else did.")]
Size = Annotated[str | None, typer.Option("--bytes", help="As if the files that wait had so many bytes, such as 9TB.")]
Region = Annotated[str | None, typer.Option(help="Prices of this AWS region; default: AWS's own setting, if known.")]


def estimate(
    dataset: DatasetName,
    engine: Engine = None,
    files: Files = None,
    size: Size = None,
    region: Region = None,
    json: Json = False,
) -> None:
    """Say what converting all that waits will take: manifests, runs, hours, requests and dollars, on each engine.

    What waits is what the ledger knows; lake reconcile registers what is in the store and converts nothing. With
    --files and --bytes, which go together, something else is supposed. Times are those of the dataset's last manifests
    on that engine, or of all datasets', or assumed where there are none; docs/costs.md says what is counted.

    What is estimated of what really waits, for --engine or else LAKE_ENGINE, is remembered: lake status shows it beside
    what was then spent.

    JSON: region, prices_of, and engines: an object of each, with manifests, runs, files, bytes, seconds (of all
    attempts), elapsed_seconds, dpu_hours, requests by class, dollars in all and by kind, and measured (or assumed).
    """
    supposed = _supposed(files, size)
    with open_lake(load_settings()) as lake:
        found = lake.dataset(dataset)
        waiting = supposed or waiting_of(lake, found)
        if not sum(group.files for group in waiting):
            raise NothingWaits(
                f"no file of {found.name} waits in the ledger; `lake reconcile {found.name}` registers what is in the"
                " store, --files and --bytes suppose something"
            )
        of = region or region_of(lake.settings)
        made = [estimate_dataset(lake, found, name, waiting, of) for name in ([engine] if engine else ENGINES)]
        if not supposed:
            chosen = next(item for item in made if item.engine == (engine or lake.settings.engine))
            lake.ledger.save_estimate(
                found.name,
                chosen.engine,
                manifests=chosen.work.manifests,
                files=chosen.work.files,
                bytes=chosen.work.bytes,
                seconds=chosen.seconds,
                dpu_seconds=chosen.dpu_seconds,
                dollars=chosen.dollars,
            )
    if json:
        engines = {item.engine: _document(item) for item in made}
        print_json({"region": of, "prices_of": price_list().as_of, "engines": engines})
        return
    _print(found.name, made)
    note(f"prices of {of} as of {price_list().as_of}; what is counted and what is assumed: docs/costs.md")


def _supposed(files: int | None, size: str | None) -> list[Waiting]:
    if files is None and size is None:
        return []
    if files is None or size is None:
        raise typer.BadParameter("--files and --bytes go together")
    try:
        return [Waiting(files, bytes_of(size))]
    except ValueError as error:
        raise typer.BadParameter(f"--bytes: {error}") from error


def _print(name: str, made: list[Estimate]) -> None:
    work = made[0].work
    note(f"{name}: {work.files:,} files, {size_text(work.bytes)}")
    print_table(
        ["engine", "manifests", "runs", "time", "DPU-hours", "S3 $", "Glue $", "machine $", "total $", "times are"],
        [
            [
                item.engine,
                item.work.manifests,
                item.runs,
                duration_text(timedelta(seconds=item.elapsed)),
                round(item.dpu_seconds / 3600, 2),
                *(round(part, 2) for part in (item.s3_dollars, item.glue_dollars, item.machine_dollars, item.dollars)),
                "measured" if item.is_measured else "assumed",
            ]
            for item in made
        ],
    )
    classes = [name for name in vars(made[0].requests) if any(vars(item.requests)[name] for item in made)]
    if classes:
        rows = [[item.engine, *(vars(item.requests)[name] for name in classes)] for item in made]
        print_table(["engine", *(name.upper() for name in classes)], rows, title="\nRequests")
    if athena := max(item.athena_dollars for item in made):
        note(f"reading the whole result once with Athena: ${athena:.2f}")


def _document(item: Estimate) -> dict[str, Any]:
    return {
        "manifests": item.work.manifests,
        "runs": item.runs,
        "files": item.work.files,
        "bytes": item.work.bytes,
        "outputs": item.work.outputs,
        "output_bytes": item.work.output_bytes,
        "seconds": round(item.seconds, 1),
        "elapsed_seconds": round(item.elapsed, 1),
        "dpu_hours": round(item.dpu_seconds / 3600, 4),
        "requests": asdict(item.requests),
        "dollars": round(item.dollars, 4),
        "s3_dollars": round(item.s3_dollars, 4),
        "glue_dollars": round(item.glue_dollars, 4),
        "machine_dollars": round(item.machine_dollars, 4),
        "athena_dollars": round(item.athena_dollars, 4),
        "measured": item.is_measured,
    }
