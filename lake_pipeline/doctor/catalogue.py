"""Where readers find the tables: the embedded DuckDB, or the Glue database and the Athena workgroup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
from botocore.exceptions import ClientError

from lake_pipeline.doctor.account import code_of
from lake_pipeline.doctor.examined import Examined
from lake_pipeline.doctor.findings import Finding, bad, doubtful, good
from lake_pipeline.reports import size_text


def look_embedded(at: Examined) -> Iterator[Finding]:
    path = at.settings.catalog_path
    if not path.exists():
        yield good("tables", f"{path} is not there yet; the first run makes it")
        return
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            views = connection.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchone()
    except duckdb.Error as error:
        yield bad("tables", str(error).splitlines()[0], f"rm {path}; the next lake run makes it anew")
        return
    yield good("tables", f"{views[0] if views else 0} in {path}")


def look(at: Examined) -> Iterator[Finding]:
    name = at.settings.glue_database
    glue = at.client("glue")
    try:
        glue.get_database(Name=name)
        yield good("database", f"{name} in the Glue catalogue")
    except glue.exceptions.EntityNotFoundException:
        mend = f"lake run makes it where the role has glue:CreateDatabase; or aws glue create-database … Name={name}"
        yield doubtful("database", f"there is no {name} in the Glue catalogue yet", mend)
    if (group := _workgroup(at)) is not None:
        yield from judge_workgroup(group)
    else:
        name = at.settings.athena_workgroup
        mend = f"aws athena create-work-group --name {name}, or set LAKE_ATHENA_WORKGROUP"
        yield bad("workgroup", f"there is no {name}", mend)


def _workgroup(at: Examined) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] | None = (
            at.client("athena").get_work_group(WorkGroup=at.settings.athena_workgroup).get("WorkGroup")
        )
        return found
    except ClientError as error:
        if code_of(error) == "InvalidRequestException":
            return None
        raise


def judge_workgroup(found: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether queries run in it, and stop before they cost what nobody meant."""
    name, configuration = found["Name"], found.get("Configuration", {})
    update = f"aws athena update-work-group --work-group {name}"
    if found.get("State") != "ENABLED":
        yield bad("workgroup", f"{name} is {found.get('State')}", f"{update} --state ENABLED")
        return
    yield good("workgroup", name)
    limit = configuration.get("BytesScannedCutoffPerQuery")
    if limit:
        yield good("scan limit", f"{size_text(limit)} a query")
    else:
        mend = f"{update} --configuration-updates BytesScannedCutoffPerQuery=1099511627776"
        yield doubtful("scan limit", f"a query in {name} may scan any amount, at 5 USD a TB", mend)
