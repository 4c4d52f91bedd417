"""`lake erase` and `lake erasures`: rows that must go, and what was done about them."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lake_pipeline.commands.options import DatasetName, Json
from lake_pipeline.errors import ErasureRefused
from lake_pipeline.lake import open_lake
from lake_pipeline.reports import note, print_json, print_json_lines, print_table, printable, say, time_text
from lake_pipeline.settings import load_settings

if TYPE_CHECKING:
    from lake_pipeline.erasing import Found
    from lake_pipeline.ledger.erasure_models import ErasureRow


def erase(
    dataset: DatasetName,
    where: Annotated[str, typer.Option(help="A condition in SQL on the table's columns, such as \"user_id = 'x'\".")],
    raw: Annotated[
        bool, typer.Option("--raw", help="Rewrite the archived raw files that hold the records too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which files hold how many such rows.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Erase rows for good: rewrite just the outputs that hold them, and leave a report.

    The condition stands: no replay brings the rows of a file that is known by now back. Nothing is ingested again.
    A command that was interrupted is finished by the same command, or by the next `lake run`.

    JSON: id, rows_erased, report (its key in the store), report_sha256; with --dry-run rows and outputs (path, rows).
    """
    from lake_pipeline.erasing import begin, find, finish  # DuckDB and Arrow are slow to import

    with open_lake(load_settings()) as lake:
        declared = lake.dataset(dataset)
        predicate = where.strip()
        found = find(lake, declared, predicate)
        if dry_run:
            _show_found(found, json)
            return
        begun = any(
            row.ended_at is None and (row.predicate, row.raw) == (predicate, raw)
            for row in lake.ledger.erasures(declared.name)
        )
        if not yes and not begun:
            _confirm(declared.name, found, raw)
        ended = finish(lake, declared, begin(lake, declared, predicate, raw=raw))
    if json:
        print_json(_document(ended))
    else:
        say(f"{ended.rows_erased:,} rows erased. Report: {ended.report_key}, SHA-256 {ended.report_sha256}")


def erasures(dataset: DatasetName, json: Json = False) -> None:
    """List past requests to erase rows, and those that are not finished.

    JSON: one object a line with id, raw, requested_by, begun_at, ended_at (null: not finished), rows_erased, report,
    report_sha256 and predicate_sha256. The conditions themselves stand in the ledger's table lake.erasures.
    """
    with open_lake(load_settings()) as lake:
        rows = lake.ledger.erasures(lake.dataset(dataset).name)
    if json:
        print_json_lines(map(_document, rows))
        return
    headers = ["id", "begun", "ended", "by", "raw", "rows", "report", "sha256"]
    cells = (
        [
            row.id,
            time_text(row.begun_at),
            time_text(row.ended_at) if row.ended_at else None,
            row.requested_by,
            row.raw,
            row.rows_erased,
            row.report_key,
            row.report_sha256,
        ]
        for row in rows
    )
    if not print_table(headers, cells):
        note("nothing was erased")


def _confirm(dataset: str, found: list[Found], raw: bool) -> None:
    if not sys.stdin.isatty():
        raise ErasureRefused(
            "there is no terminal to ask at; --yes says that you are sure, --dry-run shows what would go"
        )
    archive = ", and their records from the archive," if raw else ""
    typer.confirm(f"Erase {_rows(found):,} rows in {len(found):,} outputs of {dataset}{archive} for good?", abort=True)


def _show_found(found: list[Found], json: bool) -> None:
    keys = sorted({key for item in found for key in item.rows})
    outputs = [{"path": item.output.path, "rows": sum(item.rows.values())} for item in found]
    if json:
        print_json({"rows": _rows(found), "outputs": outputs, "raw_files": keys, "dry_run": True})
        return
    for output in outputs:
        say(printable(f"{output['path']}: {output['rows']:,} rows"))
    say(f"{_rows(found):,} rows in {len(found):,} outputs, of {len(keys):,} raw files; nothing was changed")


def _rows(found: list[Found]) -> int:
    return sum(sum(item.rows.values()) for item in found)


def _document(row: ErasureRow) -> dict[str, Any]:
    shown = asdict(row) | {"report": row.report_key}
    return {key: value for key, value in shown.items() if key not in ("predicate", "last_file_id", "report_key")}
