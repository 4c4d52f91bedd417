"""Athena on this machine: queries on DuckDB over the tables of moto's Glue and the objects of its S3."""

from __future__ import annotations

import csv
import io
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import duckdb
from botocore.exceptions import ClientError
from sqlglot.errors import SqlglotError

from lake_pipeline.aws_local.athena_sql import Statement, Unsupported, Work, parse
from lake_pipeline.aws_local.athena_tables import AthenaError, Document
from lake_pipeline.aws_local.server import REGION, Operation, Refused


@dataclass
class Execution:
    """A query: what was asked, how it stands, and what it answered."""

    id: str
    request: Document
    connection: duckdb.DuckDBPyConnection
    state: str = "QUEUED"
    reason: str = ""
    columns: list[tuple[str, str]] = field(default_factory=list)
    rows: list[list[str | None]] = field(default_factory=list)
    scanned: int = 0
    reused: bool = False
    is_rows: bool = True
    submitted: datetime = field(default_factory=lambda: datetime.now(UTC))
    completed: datetime | None = None
    over: threading.Event = field(default_factory=threading.Event)


class LocalAthena:
    """The operations of Athena that the lake uses, for `serve(athena.operations)`; workgroups stay moto's.

    Glue and S3 are asked with the access key: AWS's Athena asks them in the name of who queries.
    """

    def __init__(self, *, access_key: str = "local") -> None:
        self._endpoint, self._access_key = "", access_key
        self.executions: dict[str, Execution] = {}
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        self._tokens: dict[str, str] = {}
        self.operations: dict[str, Operation] = {
            "AmazonAthena.StartQueryExecution": self._start,
            "AmazonAthena.GetQueryExecution": self._get,
            "AmazonAthena.GetQueryResults": self._results,
            "AmazonAthena.StopQueryExecution": self._stop,
        }

    @contextmanager
    def serving(self, url: str) -> Iterator[None]:
        """Answer with the Glue and the S3 that are at `url`; at the end of the block, stop what still runs."""
        self._endpoint = url
        try:
            yield
        finally:
            for execution in list(self.executions.values()):
                self._cancel(execution)

    def _start(self, request: Document) -> Document:
        try:
            statement = parse(request["QueryString"])
        except (SqlglotError, Unsupported) as error:
            raise Refused("InvalidRequestException", f"line 1:1: mismatched input. {error}") from error
        if not request.get("ResultConfiguration", {}).get("OutputLocation"):
            raise Refused("InvalidRequestException", "No output location provided.")
        with self._lock:
            # Who asks again with the same token is told of the query that was begun.
            token = request.get("ClientRequestToken") or str(uuid.uuid4())
            if token in self._tokens:
                return {"QueryExecutionId": self._tokens[token]}
            execution = Execution(str(uuid.uuid4()), request, duckdb.connect())
            again = self._reuse(execution)
            self.executions[execution.id], self._tokens[token] = execution, execution.id
        if not again:
            threading.Thread(target=self._run, args=(execution, statement), daemon=True).start()
        return {"QueryExecutionId": execution.id}

    def _reuse(self, execution: Execution) -> bool:
        """Give the answer of the same query again, where that is asked for and there is one that is young enough."""
        rule = execution.request.get("ResultReuseConfiguration", {}).get("ResultReuseByAgeConfiguration", {})
        if not rule.get("Enabled"):
            return False
        for before in reversed(list(self.executions.values())):
            age = (datetime.now(UTC) - (before.completed or before.submitted)).total_seconds() / 60
            same = before.request["QueryString"] == execution.request["QueryString"]
            if same and before.state == "SUCCEEDED" and age <= rule["MaxAgeInMinutes"]:
                execution.columns, execution.rows, execution.reused = before.columns, before.rows, True
                execution.state, execution.completed = "SUCCEEDED", datetime.now(UTC)
                execution.over.set()
                return True
        return False

    def _run(self, execution: Execution, statement: Statement) -> None:
        with self._lock:
            execution.state = "CANCELLED" if execution.state == "CANCELLED" else "RUNNING"
        state = "SUCCEEDED"
        try:
            with tempfile.TemporaryDirectory(prefix="athena-") as scratch, execution.connection as connection:
                database = execution.request.get("QueryExecutionContext", {}).get("Database", "default")
                work = Work(connection, self._client("glue"), self._client("s3"), Path(scratch), database)
                answer = work.do(statement)
                execution.columns, execution.rows = answer.columns, answer.rows
                execution.is_rows, execution.scanned = answer.is_rows, work.tables.scanned
            self._keep(execution)
        except duckdb.InterruptException:
            state = "CANCELLED"
        except (AthenaError, duckdb.Error, SqlglotError, ClientError) as error:
            state, execution.reason = "FAILED", str(error)
        except Exception as error:  # whoever waits is told, whatever it is
            state, execution.reason = "FAILED", f"GENERIC_INTERNAL_ERROR: {error!r}"
        with self._lock:
            execution.completed = datetime.now(UTC)
            execution.state = "CANCELLED" if execution.state == "CANCELLED" else state
        execution.over.set()

    def _client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                self._clients[service] = boto3.session.Session().client(
                    service,
                    endpoint_url=self._endpoint,
                    region_name=REGION,
                    aws_access_key_id=self._access_key,
                    aws_secret_access_key="local",
                )
            return self._clients[service]

    def _keep(self, execution: Execution) -> None:
        """Write the answer as CSV to where results are kept."""
        text = io.StringIO()
        writer = csv.writer(text, quoting=csv.QUOTE_ALL)
        writer.writerow(name for name, _ in execution.columns)
        writer.writerows(execution.rows)
        place = execution.request["ResultConfiguration"]["OutputLocation"].removeprefix("s3://").rstrip("/")
        bucket, _, prefix = place.partition("/")
        self._client("s3").put_object(Bucket=bucket, Key=f"{prefix}/{execution.id}.csv", Body=text.getvalue().encode())

    def _find(self, request: Document) -> Execution:
        try:
            return self.executions[request["QueryExecutionId"]]
        except KeyError:
            raise Refused(
                "InvalidRequestException", f"QueryExecution {request['QueryExecutionId']} was not found"
            ) from None

    def _get(self, request: Document) -> Document:
        execution = self._find(request)
        status = {"State": execution.state, "SubmissionDateTime": execution.submitted.timestamp()}
        if execution.reason:
            status["StateChangeReason"] = execution.reason
        ended = execution.completed or datetime.now(UTC)
        return {
            "QueryExecution": {
                "QueryExecutionId": execution.id,
                "Query": execution.request["QueryString"],
                "StatementType": "DML" if execution.is_rows else "DDL",
                "Status": status,
                "Statistics": {
                    "DataScannedInBytes": execution.scanned,
                    "TotalExecutionTimeInMillis": int((ended - execution.submitted).total_seconds() * 1000),
                    "ResultReuseInformation": {"ReusedPreviousResult": execution.reused},
                },
                "WorkGroup": execution.request.get("WorkGroup", "primary"),
            }
        }

    def _results(self, request: Document) -> Document:
        execution = self._find(request)
        if execution.state != "SUCCEEDED":
            raise Refused("InvalidRequestException", f"Query has not yet finished. Current state: {execution.state}")
        header: list[list[str | None]] = [[name for name, _ in execution.columns]] if execution.is_rows else []
        rows = header + execution.rows
        first, most = int(request.get("NextToken", 0)), int(request.get("MaxResults", 1000))
        page = rows[first : first + most]
        answer: Document = {
            "ResultSet": {
                "Rows": [{"Data": [{} if text is None else {"VarCharValue": text} for text in row]} for row in page],
                "ResultSetMetadata": {
                    "ColumnInfo": [{"Name": name, "Type": type_} for name, type_ in execution.columns]
                },
            }
        }
        return answer | ({"NextToken": str(first + most)} if first + most < len(rows) else {})

    def _stop(self, request: Document) -> Document:
        self._cancel(self._find(request))
        return {}

    def _cancel(self, execution: Execution) -> None:
        with self._lock:
            if not execution.over.is_set():
                execution.state = "CANCELLED"
        # DuckDB forgets an interrupt that comes between two statements.
        while not execution.over.wait(0.02):
            with suppress(duckdb.Error):
                execution.connection.interrupt()
