"""The Dagster instance of a lake: runs, events and schedules in the ledger's Postgres, its settings under LAKE_HOME."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import DBAPIError

from lake_pipeline.dagster_home import prepare_instance
from lake_pipeline.errors import LedgerUnreachable
from lake_pipeline.ledger.postgres import sqlalchemy_url
from lake_pipeline.settings import Settings


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance, to be disposed of by its `with`."""
    return dg.DagsterInstance.from_config(str(prepare_instance(settings)))


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn what Dagster raises where its storage does not answer into an error of ours.

    Dagster tries to connect for about ten seconds, and does not repeat what it was saying when a connection broke.

    Raises:
        LedgerUnreachable: its storage does not answer.
    """
    try:
        yield
    except (DBAPIError, DagsterPostgresException) as error:
        raise LedgerUnreachable(f"Dagster's storage: {str(error).splitlines()[0]}") from error


def make_dagster_tables(settings: Settings, url: str) -> None:
    """Create the tables of Dagster's storage, as the role of this libpq URL, where they are missing."""
    prepare_instance(settings)
    used = os.environ["LAKE_DAGSTER_DATABASE_URL"]
    os.environ["LAKE_DAGSTER_DATABASE_URL"] = sqlalchemy_url(url, "psycopg2")
    try:
        # Its storages make their tables when they are opened.
        with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
            instance.get_runs_count()
    finally:
        os.environ["LAKE_DAGSTER_DATABASE_URL"] = used


def dagster_tables() -> list[str]:
    """The names of Dagster's tables."""
    storages = (RunStorageSqlMetadata, SqlEventLogStorageMetadata, ScheduleStorageSqlMetadata)
    return sorted({"alembic_version", *(name for storage in storages for name in storage.tables)})
