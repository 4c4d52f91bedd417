"""The Dagster instance of a lake: runs, events and schedules in the ledger's Postgres, its settings under LAKE_HOME."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import dagster as dg
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from lake_pipeline.dagster_home import prepare_instance
from lake_pipeline.errors import LedgerUnreachable
from lake_pipeline.ledger.postgres import sqlalchemy_url
from lake_pipeline.settings import Settings

# A conversion may take hours, after which a connection that nobody used may be dead without a word.
_KEPT_SECONDS = 60


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance, for as long as the block runs."""
    with dg.DagsterInstance.from_config(str(prepare_instance(settings))) as instance, _kept_connections(instance):
        yield instance


@contextmanager
def _kept_connections(instance: dg.DagsterInstance) -> Iterator[None]:
    """Have its storages keep a connection; by themselves they connect anew for everything they say, 80 times a run."""
    with ExitStack() as stack:
        for storage in (instance.run_storage, instance.event_log_storage):
            # Another instance's storage may be another, or be let in by tokens.
            if isinstance(storage, PostgresRunStorage | PostgresEventLogStorage) and storage._token_provider is None:
                # A connection that broke meanwhile is noticed before it is used, as if there had been none.
                engine = create_engine(
                    storage.postgres_url,
                    isolation_level="AUTOCOMMIT",
                    pool_size=1,
                    pool_pre_ping=True,
                    pool_recycle=_KEPT_SECONDS,
                )
                stack.callback(engine.dispose)
                storage._engine = engine
        yield


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
