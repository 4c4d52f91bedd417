"""Connections to the ledger: a pool, transactions, and the named queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Self

import aiosql
import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool

from lake_pipeline.errors import LeaseLost, LedgerError, LedgerUnreachable
from lake_pipeline.ledger import audit_models, erasure_models, models, pause_models
from lake_pipeline.ledger.retrying import PATIENCE, failure, may_be_repeated, repeated
from lake_pipeline.manifests import ManifestFile

Connection = psycopg.Connection[tuple[Any, ...]]

# Where the URL does not say otherwise: a server that vanished without a word is noticed within a minute.
_OPTIONS: dict[str, Any] = {
    "application_name": "lake",
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_CONNECT_SECONDS = 10  # for which one try waits for a connection

_RECORDS = {
    record.__name__: record
    for record in (
        ManifestFile,
        models.ArchivableFile,
        models.BacklogSummary,
        models.DueManifest,
        erasure_models.ErasureRow,
        erasure_models.ErasureStep,
        models.FileTotals,
        models.GroupBacklog,
        audit_models.InvariantViolation,
        audit_models.KnownOutput,
        audit_models.KnownVersion,
        models.ManifestRow,
        models.ManifestSummary,
        models.OutputFile,
        pause_models.Pause,
        models.PendingWork,
        erasure_models.RawFileToSearch,
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
    """A pool of connections that reconnects by itself; the parts of the ledger build on it.

    Every public method of a part is one unit: where the connection broke, all of it is done again (see retrying.py).
    The first time may have been committed, so a method must be such that doing it twice is doing it once. Context
    managers and streams are not done again, for their callers' blocks cannot be.
    """

    def __init__(
        self,
        pool: ConnectionPool[Connection],
        revive: Callable[[], object] = lambda: None,
        patience: timedelta = PATIENCE,
    ) -> None:
        self._pool = pool
        self._queries = named_queries()
        self._revive = revive
        self._is_doubtful = False
        self.patience = patience

    def __init_subclass__(cls) -> None:
        for name, member in list(vars(cls).items()):
            if may_be_repeated(name, member):
                setattr(cls, name, repeated(member))

    @classmethod
    @contextmanager
    def open(
        cls,
        url: str,
        *,
        min_size: int = 1,
        max_size: int = 4,
        revive: Callable[[], object] = lambda: None,
        patience: timedelta = PATIENCE,
    ) -> Iterator[Self]:
        """A ledger on a migrated database, for as long as the block runs.

        A method that gets no answer is tried again for as long as `patience`; before that, `revive` is called, which
        may start the server again.

        Raises:
            LedgerError: the server cannot be reached.
        """
        said = conninfo_to_dict(url)
        options = {name: value for name, value in _OPTIONS.items() if name not in said}
        try:
            psycopg.connect(url, **options).close()  # the pool would try for a while, and not say why
        except psycopg.Error as error:
            raise failure(error, url) from error
        with ConnectionPool[Connection](
            url,
            min_size=min_size,
            max_size=max_size,
            # Thousands of keys are given to statements that plan well only if they are known: after five times a
            # prepared one gets a plan for any, which has no index for "these keys, or all" and compares each with each.
            kwargs=options | {"prepare_threshold": None},
            check=ConnectionPool[Connection].check_connection,
            open=False,
            name="lake",
            timeout=min(_CONNECT_SECONDS, patience.total_seconds()),
            # Else its own pauses grow to minutes, and it is late to see that the server is there again.
            reconnect_timeout=_CONNECT_SECONDS,
        ) as pool:
            yield cls(pool, revive, patience)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A connection whose work is committed at the end of the block, or undone by an error.

        Raises:
            LedgerUnreachable: the server does not answer; what was to be committed may have been.
            LedgerError: it refused.
        """
        if self._is_doubtful:
            self._reach()
        try:
            with self._pool.connection() as connection:
                self._is_doubtful = False
                yield connection
        except psycopg.Error as error:
            self._is_doubtful = True
            raise failure(error) from error

    @contextmanager
    def _outside_transactions(self) -> Iterator[Connection]:
        """The same with each statement committed by itself, as maintenance asks for."""
        with self._transaction() as connection:
            connection.autocommit = True
            try:
                yield connection
            finally:
                if not connection.closed:
                    connection.autocommit = False

    def _reach(self) -> None:
        try:
            self._revive()
        except LedgerError as error:
            raise LedgerUnreachable(error.detail) from error

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

    @contextmanager
    def _joining_by_hash(self, connection: Connection) -> Iterator[None]:
        self._queries.join_by_hash(connection)
        yield
        self._queries.join_as_planned(connection)

    def _unsettle(
        self,
        connection: Connection,
        dataset: str,
        *,
        manifest_ids: list[str] | None = None,
        keys: list[str] | None = None,
    ) -> None:
        """Have files of these manifests, or of these keys, among the live ones, where they may be changed.

        The caller holds the manifests, or the dataset alone.
        """
        if manifest_ids or keys:
            self._queries.unsettle_files(connection, dataset=dataset, manifest_ids=manifest_ids, keys=keys)

    def _settle_versions(self, connection: Connection, dataset: str, keys: list[str]) -> None:
        """Say of each key's new version whether it replaces rows, and be done with old ones that have none."""
        if keys:
            imported = [key for (key,) in self._queries.settled_imported(connection, dataset=dataset, keys=keys)]
            self._unsettle(connection, dataset, keys=imported)
            self._queries.supersede_imported(connection, dataset=dataset, keys=keys)
            self._queries.attach_new_versions(connection, dataset=dataset, keys=keys)
            self._queries.supersede_old_versions(connection, dataset=dataset, keys=keys)
