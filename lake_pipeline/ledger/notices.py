"""The ledger's part in telling: which manifests' news were not told, and which alerts were sent lately."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from psycopg.rows import class_row

from lake_pipeline.ledger.connection import LedgerConnection
from lake_pipeline.ledger.models import FileTotals
from lake_pipeline.ledger.news import ManifestNews
from lake_pipeline.ledger.retrying import once


class NoticeLedger(LedgerConnection):
    """What was told, once at least."""

    @contextmanager
    def notices_lock(self, dataset: str) -> Iterator[bool]:
        """Whether this process is the one that tells of the dataset, as long as the block runs; others do not wait."""
        with self._transaction() as connection:
            yield bool(self._queries.try_notices_lock(connection, dataset=dataset))

    def untold(self, dataset: str, most: int) -> list[ManifestNews]:
        """Manifests that were planned, or whose attempt ended, and of which that was not told; oldest first."""
        with self._transaction() as connection, connection.cursor(row_factory=class_row(ManifestNews)) as cursor:
            cursor.execute(self._queries.untold.sql, {"dataset": dataset, "most": most})
            return cursor.fetchall()

    def record_told(self, dataset: str, news: list[ManifestNews]) -> None:
        """All of that was told."""
        with self._transaction() as connection:
            self._queries.record_told(
                connection,
                dataset=dataset,
                manifest_ids=[item.manifest_id for item in news],
                attempts=[item.attempt if item.ended else None for item in news],
                planned=[item.planned_at for item in news],
            )

    @once  # a second time would take the first one's claim for another's, and the alert be lost
    def claim_alert(self, key: str, window: timedelta) -> bool:
        """Whether no alert of this key was claimed in the window before; it is now."""
        with self._transaction() as connection:
            self._queries.forget_alerts(connection, window=window)
            return bool(self._queries.claim_alert(connection, key=key))

    def release_alert(self, key: str) -> None:
        """The alert could not be sent."""
        with self._transaction() as connection:
            self._queries.release_alert(connection, key=key)

    def file_totals(self) -> list[FileTotals]:
        """Files and bytes by dataset and state, of states that have any."""
        with self._transaction() as connection:
            return list(self._queries.file_totals(connection))
