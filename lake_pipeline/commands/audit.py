"""`lake audit`: store, ledger and outputs compared, and what can be mended safely."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from lake_pipeline.commands.audit_report import AuditReport
from lake_pipeline.commands.options import DatasetNames, Json
from lake_pipeline.dataset import Dataset
from lake_pipeline.discovery.chosen_report import chosen_report
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.reports import note
from lake_pipeline.settings import load_settings

if TYPE_CHECKING:
    from lake_pipeline.audit.listings import Listing
    from lake_pipeline.audit.scope import Scope


def audit(
    datasets: DatasetNames = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended safely, and look again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --repair: only say what would be done.")] = False,
    inventory: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Read this report of S3 Inventory in place of a listing: its manifest.json, or the folder of all its"
            " reports. Without it, LAKE_INVENTORY, and without that, or while it has no report yet, a listing.",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Open no curated file but for Parquet's footers: no rows by raw file.")
    ] = False,
    json: Json = False,
) -> None:
    """Compare store, ledger and outputs; exit with 1 where they differ.

    Names each difference by its class: docs/audit.md says what each means and what --repair does about it. Nothing
    that the lake did not write is ever deleted. May run beside workers: what one of them is in the midst of is no
    difference. After --repair, what is left is reported, and `lake run` converts what was planned again.

    JSON: one difference a line as it is found, with dataset, class, subject, detail, manifest_id, state (found,
    mended, refused or left) and repair (what was done, would be done or why not; null without --repair).
    """
    if dry_run and not repair:
        raise typer.BadParameter("--dry-run is of --repair")
    with (
        AuditReport(json=json, repairs=repair, dry_run=dry_run) as report,
        open_lake(load_settings()) as lake,
        _listing(lake, inventory) as listing,
    ):
        for dataset in lake.chosen(datasets):
            _audit(lake, dataset, listing, report, quick=quick)
    report.print_summary()
    if report.differs:
        raise typer.Exit(1)


def _audit(lake: Lake, dataset: Dataset, listing: Listing, report: AuditReport, *, quick: bool) -> None:
    from lake_pipeline.audit.audit import audit as audit_dataset  # DuckDB and Arrow are slow to import
    from lake_pipeline.audit.repair import Repair
    from lake_pipeline.audit.scope import Scope
    from lake_pipeline.audit.spool import spooled
    from lake_pipeline.scratch import scratch_folder

    def scope() -> Scope:
        return Scope(lake, dataset, listing, quick, tell=report.teller(dataset.name))

    if not report.repairs:
        for difference in audit_dataset(scope()):
            report.found(difference)
        return
    with scratch_folder() as scratch:
        mended = 0
        for outcome in Repair(lake, dataset, report.dry_run)(spooled(audit_dataset(scope()), scratch)):
            report.mended(outcome)
            mended += outcome.done
    if mended and not report.dry_run:
        report.begin_again(dataset.name)
        for difference in audit_dataset(scope()):
            report.left(difference)


@contextmanager
def _listing(lake: Lake, inventory: str | None) -> Iterator[Listing]:
    from lake_pipeline.audit.listings import StoreListing, reported  # DuckDB and Arrow are slow to import

    report = chosen_report(lake, inventory, note)
    if report is None:
        yield StoreListing(lake.store)
        return
    with reported(report, lake.settings.store_url) as listing:
        yield listing
