"""Queries through an Athena workgroup: started, awaited, stopped where nobody waits any more, and read page by page."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lake_pipeline.aws import client
from lake_pipeline.catalog.athena_types import from_text
from lake_pipeline.catalog.contract import Answer
from lake_pipeline.errors import QueryError
from lake_pipeline.settings import Settings

RESULTS = "_athena/"  # where answers are kept, unless the workgroup says another place
_PAGE = 1000  # rows, GetQueryResults' limit
# GetQueryExecution may be called a few times a second in an account, so waits grow from the first to the second.
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 2.0


@dataclass(frozen=True)
class Execution:
    """A query that succeeded: its id, the bytes that Athena read for it, and its time in ms.

    `reused` says that an earlier answer was given again; `is_rows` that it has rows with a header.
    """

    id: str
    scanned: int
    milliseconds: int
    reused: bool
    is_rows: bool

    def describe(self) -> str:
        """What it cost, for a person."""
        if self.reused:
            return "an earlier answer, given again: nothing scanned"
        return f"{self.scanned / 1e6:,.2f} MB scanned in {self.milliseconds / 1000:.1f} s"


def query(settings: Settings, sql: str) -> Answer:
    """Run a query and stream its rows.

    Raises:
        QueryError: Athena refused or failed; the message is its reason. Rows may raise it too.
    """
    athena = client("athena")
    execution = _execute(athena, _request(settings, sql, settings.athena_reuse_minutes))
    rows = _rows(athena, execution)
    names = next(rows)
    return Answer([str(name) for name in names], rows, execution.describe())


def execute(settings: Settings, sql: str) -> Execution:
    """Run a statement to its end, without reading what it answers.

    Raises:
        QueryError: Athena refused or failed; the message is its reason.
    """
    return _execute(client("athena"), _request(settings, sql, 0))


def _execute(athena: Any, request: dict[str, Any]) -> Execution:
    """Ctrl-C, or any other exception while the query runs, stops it."""
    started = None
    with _errors():
        try:
            started = athena.start_query_execution(**request)["QueryExecutionId"]
            found = _await(athena, started)
        except BaseException as error:
            if started is not None or not isinstance(error, Exception):
                with suppress(BotoCoreError, ClientError):
                    # Where the answer was cut off, the same token gives the id of the query that was begun.
                    started = started or athena.start_query_execution(**request)["QueryExecutionId"]
                    athena.stop_query_execution(QueryExecutionId=started)
            raise
    status, statistics = found["Status"], found.get("Statistics", {})
    if status["State"] != "SUCCEEDED":
        reason = (
            status.get("StateChangeReason") or status.get("AthenaError", {}).get("ErrorMessage") or "no reason given"
        )
        raise QueryError(f"{reason} (Athena query {started} {status['State']})")
    return Execution(
        started,
        statistics.get("DataScannedInBytes", 0),
        statistics.get("TotalExecutionTimeInMillis", 0),
        statistics.get("ResultReuseInformation", {}).get("ReusedPreviousResult", False),
        found.get("StatementType") == "DML",
    )


def _request(settings: Settings, sql: str, reuse_minutes: int) -> dict[str, Any]:
    request: dict[str, Any] = {
        "QueryString": sql,
        "ClientRequestToken": str(uuid.uuid4()),
        "QueryExecutionContext": {"Database": settings.glue_database, "Catalog": "AwsDataCatalog"},
        "WorkGroup": settings.athena_workgroup,
        # A workgroup that enforces its own location overrides this one.
        "ResultConfiguration": {"OutputLocation": f"{settings.store_url}/{RESULTS}"},
    }
    if reuse_minutes:
        age = {"Enabled": True, "MaxAgeInMinutes": reuse_minutes}
        request["ResultReuseConfiguration"] = {"ResultReuseByAgeConfiguration": age}
    return request


def _await(athena: Any, started: str) -> dict[str, Any]:
    wait = _FIRST_WAIT
    while True:
        found: dict[str, Any] = athena.get_query_execution(QueryExecutionId=started)["QueryExecution"]
        if found["Status"]["State"] in ("SUCCEEDED", "FAILED", "CANCELLED"):
            return found
        time.sleep(wait)
        wait = min(wait * 1.5, _LONGEST_WAIT)


def _rows(athena: Any, execution: Execution) -> Iterator[tuple[Any, ...]]:
    """The column names, then the rows."""
    with _errors():
        pages = athena.get_paginator("get_query_results").paginate(
            QueryExecutionId=execution.id, PaginationConfig={"PageSize": _PAGE}
        )
        for number, page in enumerate(pages):
            columns = page["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]
            names = tuple(column["Name"] for column in columns)
            texts = [[item.get("VarCharValue") for item in row["Data"]] for row in page["ResultSet"]["Rows"]]
            if number == 0:
                yield names
                # The first row repeats the names, save of what SHOW and DESCRIBE answer.
                if execution.is_rows and texts and tuple(texts[0]) == names:
                    texts = texts[1:]
            types = [column["Type"] for column in columns]
            for row in texts:
                yield tuple(from_text(text, type_) for text, type_ in zip(row, types, strict=False))


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise QueryError(error.response["Error"].get("Message") or str(error)) from error
    except BotoCoreError as error:
        raise QueryError(str(error)) from error
