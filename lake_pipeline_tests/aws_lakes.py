"""A lake in S3 with its tables in Glue, on this machine's AWS."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake_pipeline.aws import client
from lake_pipeline.aws_local.athena import LocalAthena
from lake_pipeline.aws_local.resources import make_bucket
from lake_pipeline.aws_local.server import Operation, environment, serve
from lake_pipeline.kernel.arrow_types import arrow_type
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import FileOutcome, ListedObject, OutputFile, SchemaChange
from lake_pipeline.schemas import Column, Type
from lake_pipeline.settings import load_settings
from lake_pipeline_tests.lakes import lake_of


@dataclass(frozen=True)
class Aws:
    """The server: its URL, the Athena that answers there, and the root of a store of the test's own."""

    url: str
    athena: LocalAthena
    store: str


@contextmanager
def aws_of(monkeypatch: pytest.MonkeyPatch, operations: dict[str, Operation] | None = None) -> Iterator[Aws]:
    """AWS with a bucket, which this process's environment describes, and a database to be made."""
    athena = LocalAthena()
    with serve(athena.operations | (operations or {})) as url, athena.serving(url):
        for name, value in environment(url).items():
            monkeypatch.setenv(name, value)
        # moto keeps what it knows in the process, so each test has names of its own.
        name = f"lake-{uuid.uuid4().hex[:12]}"
        store = make_bucket(name)
        monkeypatch.setenv("LAKE_STORE", store)
        monkeypatch.setenv("LAKE_GLUE_DATABASE", name.replace("-", "_"))
        yield Aws(url, athena, store)


@contextmanager
def aws_lake_of(
    monkeypatch: pytest.MonkeyPatch, aws: Aws, home: Path, database_url: str, *declarations: dict[str, Any]
) -> Iterator[Lake]:
    """A lake in that bucket, with the catalogue in Glue."""
    with lake_of(monkeypatch, home, database_url, *declarations, store=aws.store, catalog="glue") as lake:
        yield lake


def database() -> str:
    """The Glue database of the test."""
    return load_settings().glue_database


def partitions(table: str) -> list[list[str]]:
    """The values of the table's partitions in Glue."""
    pages = client("glue").get_paginator("get_partitions").paginate(DatabaseName=database(), TableName=table)
    return sorted(item["Values"] for page in pages for item in page["Partitions"])


def table(name: str) -> dict[str, Any]:
    """The table in Glue."""
    found: dict[str, Any] = client("glue").get_table(DatabaseName=database(), Name=name)["Table"]
    return found


def commit(lake: Lake, name: str, files: dict[str, list[dict[str, Any]]], **types: Type) -> None:
    """Commit a manifest whose Parquet files are these, by path below the output prefix, without converting anything.

    `types` are columns that the schema gains.
    """
    lake.ledger.register("events", [ListedObject(f"raw/{name}.json", 1, name, datetime.now(UTC), name)])
    manifest = lake.ledger.claim_manifest("events", name, 10, 10**9)
    assert manifest is not None
    schema = lake.schema("events")
    columns = [*schema.columns, *(Column(column, (column,), type_) for column, type_ in types.items())]
    fields = [pa.field(column.name, arrow_type(column.type)) for column in columns]
    fields += [pa.field("_source_file", pa.string()), pa.field("_rescued", pa.string())]
    outputs = []
    for path, records in files.items():
        written = io.BytesIO()
        source = {"_source_file": f"raw/{name}.json"}
        pq.write_table(pa.Table.from_pylist([source | row for row in records], pa.schema(fields)), written)
        outputs.append(OutputFile(f"curated/{path}/{name}.parquet".replace("//", "/"), len(records), written.tell()))
        lake.store.put(outputs[-1].path, written.getvalue())
    attempt = lake.ledger.begin_attempt("events", manifest.manifest_id, "w1", timedelta(minutes=1))
    lake.ledger.commit_manifest(
        "events",
        manifest.manifest_id,
        attempt,
        files=[FileOutcome(file.id, "SUCCEEDED") for file in manifest.files],
        outputs=outputs,
        schema=SchemaChange(schema.version, [column.to_json() for column in columns], []) if types else None,
        schema_version=schema.version or None,
    )
