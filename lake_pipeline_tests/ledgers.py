"""Ledgers lost, copied and compared; and the work of `lake run` without Dagster, for tests of many runs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.rows import dict_row

from lake_pipeline.errors import LakeError
from lake_pipeline.guard import check_ledger
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline_tests.conftest import database_of
from lake_pipeline_tests.failing import convert
from lake_pipeline_tests.passes import attempts

# What a rebuilt ledger need not say of the past: who worked, what was told to whom, what is written down or settled.
# Nor what attempts cost, which is known once their commits are written down.
_VOLATILE = {
    "settled",
    "settled_files",
    "settled_bytes",
    "worker",
    "lease_expires_at",
    "failures",
    "told_attempt",
    "told_planned_at",
    "recorded_changes",
    "recorded",
}
_TABLES = {
    "manifests": "dataset, manifest_id",
    "file_processing_status": "dataset, id",
    "outputs": "dataset, path",
    "schema_versions": "dataset, version",
}


def work(lake: Lake) -> int:
    """Discover, plan and convert in every dataset until nothing is due; the number of attempts."""
    begun = 0
    for dataset in lake.datasets.values():
        check_ledger(lake, [dataset])
        for attempt in attempts(lake, dataset.name, convert):
            begun += 1
            with suppress(LakeError):
                attempt()
    return begun


def make_live(ledger: Ledger, dataset: str) -> None:
    """Have every settled file among the live ones, where a test may spoil it."""
    manifests = [manifest.manifest_id for manifest in ledger.manifests(dataset)]
    with ledger._writing(dataset) as connection:
        ledger._unsettle(connection, dataset, manifest_ids=manifests)


def contents(url: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of a ledger, by table."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return {
            table: [
                {name: _without_cost(value) for name, value in row.items() if name not in _VOLATILE}
                for row in connection.execute(f"SELECT * FROM lake.{table} ORDER BY {order}".encode())
            ]
            for table, order in _TABLES.items()
        }


def _without_cost(value: Any) -> Any:
    return {name: part for name, part in value.items() if name != "cost"} if isinstance(value, dict) else value


def everything(url: str) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table of a ledger."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'lake'").fetchall()
        return {
            row["tablename"]: sorted(
                connection.execute(f"SELECT * FROM lake.{row['tablename']}".encode()).fetchall(), key=str
            )
            for row in tables
        }


def objects(lake: Lake, *, but: tuple[str, ...] = ()) -> dict[str, tuple[int, str]]:
    """Size and ETag of all that the store holds, but for what is below these prefixes."""
    return {
        item.key: (item.size, item.etag)
        for page in lake.store.list("")
        for item in page
        if not item.key.startswith(but)
    }


@contextmanager
def copy_of(postgres_url: str, url: str) -> Iterator[str]:
    """A copy of a database that nobody is connected to, as a backup is one."""
    name, source = f"test_{uuid.uuid4().hex[:12]}", psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {source}".encode())
        yield database_of(postgres_url, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
