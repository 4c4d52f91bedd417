"""The ledger's part in where raw files went: those that lie where they belong are settled, and in time forgotten."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

import psycopg

from lake_pipeline.failpoints import failpoint
from lake_pipeline.ledger.connection import LedgerConnection
from lake_pipeline.ledger.models import ArchivableFile

_PRUNED_AT_ONCE = 20  # manifests
_SUPERSEDED = 10_000  # files, the same
_REWRITTEN = 100_000  # live files at most, which takes about a second
_WORTH_IT = 2**28  # bytes
_BYTES_A_FILE = 2**11  # four times what a live file needs
_SETTLED_AT_ONCE = 10  # the same; a pass of a sensor is to take seconds


class ArchiveLedger(LedgerConnection):
    """Where raw files lie. What is settled no statement changes; whoever is to change it has it live again first."""

    def files_to_archive(self, dataset: str, manifest_id: str | None = None) -> list[ArchivableFile]:
        """Raw files of a manifest, or of all, whose fate is committed and that are not where they belong.

        Check size and ETag as you move.
        """
        with self._transaction() as connection:
            kept = list(self._queries.settled_where_they_landed(connection, dataset=dataset, manifest_id=manifest_id))
        for (found,) in kept:  # the declaration did not say until now that they move
            with self._writing(dataset) as connection:
                self._unsettle(connection, dataset, manifest_ids=[found])
        with self._transaction() as connection:
            return list(self._queries.files_to_archive(connection, dataset=dataset, manifest_id=manifest_id))

    def relanded_files(self, dataset: str) -> list[ArchivableFile]:
        """Raw files that were moved away, to `location`, and were seen under their keys again since."""
        with self._transaction() as connection:
            return list(self._queries.relanded_files(connection, dataset=dataset))

    def record_archived(self, dataset: str, moved: Collection[tuple[int, str]]) -> None:
        """Where raw files lie now: (file id, archived key). Of those that are where they belong, that is the end."""
        there = {"ids": [id_ for id_, _ in moved], "keys": [key for _, key in moved]}
        if not moved:
            return
        with self._working(dataset) as connection:
            list(self._queries.lock_manifests_of(connection, dataset=dataset, ids=there["ids"]))
            with self._joining_by_hash(connection):
                self._queries.settle_files(connection, dataset=dataset, manifest_id=None, keep=False, **there)
                self._queries.record_archived(connection, **there)
            failpoint("archive.settling")

    def settle(self, dataset: str, manifest_id: str | None = None, *, keep: bool) -> None:
        """Settle what lies where it belongs of a committed manifest, or of some of those that are not settled yet.

        `keep`: raw files belong where they landed.
        """
        if manifest_id is None:
            with self._transaction() as connection:
                found = list(self._queries.manifests_to_settle(connection, dataset=dataset, most=_SETTLED_AT_ONCE))
        else:
            found = [(manifest_id,)]
        for (manifest,) in found:
            with self._working(dataset) as connection:
                this = {"dataset": dataset, "manifest_id": manifest}
                self._queries.lock_manifest(connection, **this)
                with self._joining_by_hash(connection):
                    self._queries.settle_files(connection, **this, keep=keep, ids=[], keys=[])
                self._queries.mark_settled(connection, **this)

    def prune_files(self, dataset: str, keep: timedelta) -> int:
        """Forget archived files of manifests that were committed longer than `keep` ago; how many those were.

        Their manifests and outputs stay, and so do quarantined files. What was superseded before a manifest took it is
        forgotten too, once nothing else is known of its key.
        """
        forgotten = 0
        # In this order: an old version is forgotten after the one that took its place.
        for query, most in (
            (self._queries.prune_files, _PRUNED_AT_ONCE),
            (self._queries.prune_superseded, _SUPERSEDED),
        ):
            found = None
            while found != 0:
                # The dataset is locked meanwhile, so not for long.
                with self._writing(dataset) as connection:
                    found = int(query(connection, dataset=dataset, keep=keep, most=most))
                forgotten += found
        return forgotten

    def shrink(self, least: int = _WORTH_IT) -> int:
        """Give the disk back what live files left empty, where that is at least so many bytes; how many those were.

        Autovacuum only makes it free for other live files, and after a backfill there are few. The table is rewritten
        under a lock, so only where little is left in it. It takes the right to MAINTAIN it (PostgreSQL 17), or its
        owner's; else nothing is done.
        """
        with self._transaction() as connection:
            before: int = self._queries.live_bytes(connection)
            known = self._queries.live_rows_at_last_vacuum(connection)
            if before < least or not 0 <= known <= _REWRITTEN:
                return 0
            rows = self._queries.live_rows(connection, most=_REWRITTEN + 1)
            if rows > _REWRITTEN or before < rows * _BYTES_A_FILE:
                return 0
        with self._outside_transactions() as connection:
            self._queries.wait_briefly(connection)
            try:
                self._queries.rewrite_live_files(connection)
            except psycopg.errors.LockNotAvailable:
                return 0  # another time
            finally:
                self._queries.wait_as_usual(connection)
            return before - int(self._queries.live_bytes(connection))
