"""Dagster's event log, made shorter: what runs said while they ran goes, what they materialized stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import dagster as dg
import sqlalchemy as db
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.runs.schema import RunsTable

# Rows that one transaction looks at.
_WINDOW = 50_000


def prune_events(instance: dg.DagsterInstance, before: datetime, *, dry_run: bool = False) -> int:
    """Delete the log lines of runs that have ended and were begun before a time; how many those are.

    Runs, materializations and checks stay, and with them what the UI shows of assets and partitions. May be repeated,
    killed anywhere and run beside the daemon.
    """
    events = SqlEventLogStorageTable
    ended = db.select(RunsTable.c.run_id).where(
        RunsTable.c.status.in_([status.value for status in FINISHED_STATUSES]),
        RunsTable.c.create_timestamp < before.replace(tzinfo=None),
    )
    deleted = 0
    for first, last in _windows(instance):
        old = db.and_(
            events.c.id >= first, events.c.id < last, events.c.asset_key.is_(None), events.c.run_id.in_(ended)
        )
        with _storage(instance).index_connection() as connection:
            if dry_run:
                deleted += connection.execute(db.select(db.func.count()).select_from(events).where(old)).scalar() or 0
            else:
                deleted += connection.execute(db.delete(events).where(old)).rowcount
    return deleted


def _windows(instance: dg.DagsterInstance) -> Iterator[tuple[int, int]]:
    ids = SqlEventLogStorageTable.c.id
    with _storage(instance).index_connection() as connection:
        first, last = connection.execute(db.select(db.func.min(ids), db.func.max(ids))).one()
    if first is not None:
        yield from ((start, start + _WINDOW) for start in range(first, last + 1, _WINDOW))


def _storage(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)  # dagster.yaml has Postgres
    return storage
