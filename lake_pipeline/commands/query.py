"""`lake query`: SQL on the lake's tables."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from lake_pipeline.commands.options import Json
from lake_pipeline.reports import cell, note, print_json_lines, print_table
from lake_pipeline.settings import Settings, load_settings


def query(
    sql: Annotated[str, typer.Argument(help="The query, or - to read it from the standard input.")],
    json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")] = False,
) -> None:
    """Ask the lake's tables in SQL; each dataset is a table.

    JSON: one object a row and line; times are ISO 8601, decimals are strings.
    """
    if json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    text = sys.stdin.read() if sql == "-" else sql
    if not text.strip():
        raise typer.BadParameter("the query is empty")
    print_answer(load_settings(), text, json=json, as_csv=as_csv)


def print_answer(settings: Settings, sql: str, *, json: bool = False, as_csv: bool = False) -> None:
    """Print what the catalogue answers."""
    from lake_pipeline.catalog.contract import catalog_of  # not needed for --help

    answer = catalog_of(settings).query(settings, sql)
    names, rows = _unique(answer.names), answer.rows
    if json:
        print_json_lines(dict(zip(names, row, strict=True)) for row in rows)
    elif as_csv:
        _print_csv(names, rows)
    else:
        print_table(names, rows, null="NULL")
    if answer.cost:
        note(answer.cost)


def _unique(names: list[str]) -> list[str]:
    """`n, n` as `n, n_2`: an object's second key of a name would replace the first."""
    unique: list[str] = []
    for name in names:
        candidate, number = name, 2
        while candidate in unique or (candidate != name and candidate in names):
            candidate, number = f"{name}_{number}", number + 1
        unique.append(candidate)
    return unique


def _print_csv(names: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        # Text goes as it is, with its line breaks; CSV quotes them.
        writer.writerow([value if isinstance(value, str) else cell(value) for value in row])
