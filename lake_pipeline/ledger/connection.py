"""Connections to the ledger: a pool, transactions, and the named queries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self

import aiosql
import psycopg
from psycopg_pool import ConnectionPool

from lake_pipeline.errors import LeaseLost, LedgerError
from lake_pipeline.ledger import models
from lake_pipeline.ledger.postgres import shown_url
from lake_pipeline.manifests import ManifestFile

Connection = psycopg.Connection[tuple[Any, ...]]

_RECORDS = {
    record.__name__: record
    for record in (
        ManifestFile,
        models.ArchivableFile,
        models.BacklogSummary,
        models.DueManifest,
        models.FileTotals,
        models.GroupBacklog,
        models.ManifestRow,
        models.ManifestSummary,
        models.OutputFile,
        models.PendingWork,
        models.Replacement,
        models.SchemaVersion,
        models.ShownPartition,
    )
}


@cache
def named_queries() -> Any:
    """The statements of queries.sql, one method each."""
    return aiosql.from_path(Path(__file__).parent / "queries.sql", "psycopg", record_classes=_RECORDS)


class LedgerConnection:
    """A pool of connections that reconnects by itself; the parts of the ledger build on it."""

    def __init__(self, pool: ConnectionPool[Connection]) -> None:
        self._pool = pool
        self._queries = named_queries()

    @classmethod
    @contextmanager
    def open(cls, url: str, *, min_size: int = 1, max_size: int = 4) -> Iterator[Self]:
        """A ledger on a migrated database, for as long as the block runs.

        Raises:
            LedgerError: the server cannot be reached.
        """
        try:
            psycopg.connect(url, connect_timeout=10).close()  # the pool would try for half a minute, and not say why
        except psycopg.Error as error:
            raise LedgerError(f"{shown_url(url)}: {error}") from error
        options = {"application_name": "lake"}
        check = ConnectionPool[Connection].check_connection
        with ConnectionPool[Connection](
            url, min_size=min_size, max_size=max_size, kwargs=options, check=check, open=False, name="lake"
        ) as pool:
            yield cls(pool)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A connection whose work is committed at the end of the block, or undone by an error."""
        try:
            with self._pool.connection() as connection:
                yield connection
        except psycopg.Error as error:
            raise LedgerError(str(error)) from error

    @contextmanager
    def _writing(self, dataset: str) -> Iterator[Connection]:
        """A transaction that may change which version of a key is current: alone in its dataset."""
        with self._transaction() as connection:
            self._queries.lock_dataset(connection, dataset=dataset)
            yield connection

    @contextmanager
    def _working(self, dataset: str) -> Iterator[Connection]:
        """A transaction on one manifest of a dataset, beside others."""
        with self._transaction() as connection:
            self._queries.share_dataset(connection, dataset=dataset)
            yield connection

    def _hold(self, connection: Connection, dataset: str, manifest_id: str, attempt: int) -> None:
        """Lock the manifest's row for an attempt that still holds it.

        Raises:
            LeaseLost: another attempt has taken over, or the manifest is not running.
        """
        found = self._queries.lock_manifest(connection, dataset=dataset, manifest_id=manifest_id)
        if found is None:
            raise LedgerError(f"{dataset} has no manifest {manifest_id}")
        state, current, worker, _ = found
        if state != "RUNNING" or current != attempt:
            raise LeaseLost(f"{dataset} {manifest_id} attempt {attempt}: it is {state}, attempt {current} of {worker}")

    def _settle_versions(self, connection: Connection, dataset: str, keys: list[str]) -> None:
        """Say of each key's new version whether it replaces rows, and be done with old ones that have none."""
        if keys:
            self._queries.attach_new_versions(connection, dataset=dataset, keys=keys)
            self._queries.supersede_old_versions(connection, dataset=dataset, keys=keys)
