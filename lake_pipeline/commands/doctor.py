"""`lake doctor`: whether everything that the lake needs is there, in one table."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from lake_pipeline.commands.options import Json
from lake_pipeline.reports import print_json, print_table, printable, say
from lake_pipeline.settings import load_settings

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


def doctor(
    seconds: Annotated[float, typer.Option(min=1, help="How long one area may take.")] = 30,
    json: Json = False,
) -> None:
    """Check this machine, the database, the store and what else the settings name, each line by itself.

    Looks at Python, Java, disks, declarations, the database (version, durability, migrations, grants, whose ledger it
    is), the store (write, read, copy, list, delete under each prefix) and clocks; on AWS at credentials, the bucket's
    notification, lifecycle and inventory, the queue and its dead letters, the Glue job (version, script, bundle, role),
    the catalogue, the workgroup, the topic and the bus. Each line is ok, a warning where the lake works without it, or
    failed; what mends it stands beside it. Nothing is changed: probe objects in the store are deleted at once.

    Exits with 1 where a line has failed.

    JSON: failed and warnings, their numbers, and findings, each with area, subject, state, detail and mend.
    """
    from lake_pipeline.doctor.checks import checks_of  # boto3 and DuckDB are slow to import
    from lake_pipeline.doctor.examined import Examined
    from lake_pipeline.doctor.running import run_checks

    examined = Examined(load_settings())
    found = list(run_checks(checks_of(examined), examined, seconds))
    failed = sum(finding.state == "failed" for _, finding in found)
    warnings = sum(finding.state == "warning" for _, finding in found)
    if json:
        findings = [{"area": area, **vars(finding)} for area, finding in found]
        print_json({"failed": failed, "warnings": warnings, "findings": findings})
    else:
        console = Console(highlight=False, markup=False)
        if console.is_terminal:
            for area, finding in found:
                console.print(
                    Text(f"{finding.state:8}", _COLOURS[finding.state]),
                    printable(f"{area}: {finding.subject}: {finding.detail}"),
                )
                if finding.mend:
                    console.print(Text(f"         mend: {printable(finding.mend)}", _COLOURS[finding.state]))
        else:
            rows = [[finding.state, area, finding.subject, finding.detail, finding.mend] for area, finding in found]
            print_table(["state", "area", "what", "found", "mend"], rows)
        say(f"{len(found) - failed - warnings} ok, {warnings} warnings, {failed} failed")
    if failed:
        raise typer.Exit(1)
