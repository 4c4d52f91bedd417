"""Asking the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from psycopg.rows import class_row

from lake_pipeline.errors import LedgerError
from lake_pipeline.ledger.connection import LedgerConnection
from lake_pipeline.ledger.models import (
    FILE_STATUSES,
    BacklogSummary,
    FileMetadata,
    FileRow,
    FileStatus,
    ManifestRow,
    ManifestSummary,
    SchemaVersion,
    SetAsideFile,
    WaitingFile,
)


class ReadingLedger(LedgerConnection):
    """What has become of everything."""

    def now(self) -> datetime:
        """The server's time, by which the ledger's times are to be judged: a worker's clock may be wrong."""
        with self._transaction() as connection:
            found: datetime = self._queries.now(connection)
            return found

    def status(self) -> dict[str, dict[FileStatus, int]]:
        """Files by dataset and status; every status is there, in the order of a file's life."""
        counts: dict[str, dict[FileStatus, int]] = {}
        with self._transaction() as connection:
            for total in self._queries.file_totals(connection):
                counts.setdefault(total.dataset, dict.fromkeys(FILE_STATUSES, 0))[total.status] = total.files
        return dict(sorted(counts.items()))

    def backlog_summary(self, dataset: str) -> BacklogSummary:
        """How much is not yet converted, and since when."""
        with self._transaction() as connection:
            summary: BacklogSummary = self._queries.backlog_summary(connection, dataset=dataset)
            return summary

    def files(self, dataset: str, *, status: FileStatus | None = None, key: str | None = None) -> Iterator[FileRow]:
        """Rows of raw files by key and version, streamed."""
        parameters = {"dataset": dataset, "status": status, "key": key}
        with self._transaction() as connection, connection.cursor("files", row_factory=class_row(FileRow)) as cursor:
            cursor.itersize = 2000
            cursor.execute(self._queries.files.sql, parameters)
            yield from cursor

    def file_metadata(
        self, dataset: str, *, status: FileStatus | None = None, key: str | None = None
    ) -> Iterator[FileMetadata]:
        """A record of what became of each raw file, by key and version, streamed."""
        parameters = {"dataset": dataset, "status": status, "key": key}
        with (
            self._transaction() as connection,
            connection.cursor("metadata", row_factory=class_row(FileMetadata)) as cursor,
        ):
            cursor.itersize = 2000
            cursor.execute(self._queries.file_metadata.sql, parameters)
            yield from cursor

    def statuses(self, dataset: str, keys: list[str]) -> dict[str, FileStatus]:
        """The state of the newest version of each of these keys that the ledger knows."""
        with self._transaction() as connection:
            return dict(self._queries.statuses_of(connection, dataset=dataset, keys=keys))

    def waiting_files(self, dataset: str) -> Iterator[WaitingFile]:
        """PENDING files in the order in which they would be planned, streamed."""
        with (
            self._transaction() as connection,
            connection.cursor("waiting", row_factory=class_row(WaitingFile)) as cursor,
        ):
            cursor.itersize = 2000
            cursor.execute(self._queries.waiting_files.sql, {"dataset": dataset})
            yield from cursor

    def unknown_versions(self, dataset: str, versions: list[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of these (key, ETag) that discovery would register; nothing is registered."""
        keys, etags = zip(*versions, strict=True) if versions else ((), ())
        with self._transaction() as connection:
            return set(self._queries.unknown_versions(connection, dataset=dataset, keys=list(keys), etags=list(etags)))

    def set_aside(self, dataset: str, *, key: str | None = None, manifest: str | None = None) -> Iterator[SetAsideFile]:
        """Files that were quarantined whole or have records in quarantine, by key, streamed."""
        parameters = {"dataset": dataset, "key": key, "manifest_id": manifest}
        with (
            self._transaction() as connection,
            connection.cursor("set_aside", row_factory=class_row(SetAsideFile)) as cursor,
        ):
            cursor.itersize = 2000
            cursor.execute(self._queries.set_aside.sql, parameters)
            yield from cursor

    def manifest(self, dataset: str, manifest_id: str) -> ManifestRow:
        """One manifest.

        Raises:
            LedgerError: there is none of that id.
        """
        with self._transaction() as connection:
            for row in self._queries.manifests(connection, dataset=dataset, manifest_id=manifest_id):
                found: ManifestRow = row
                return found
        raise LedgerError(f"{dataset} has no manifest {manifest_id}")

    def manifests(self, dataset: str) -> list[ManifestRow]:
        """Every manifest of a dataset, in the order they were planned."""
        with self._transaction() as connection:
            return list(self._queries.manifests(connection, dataset=dataset, manifest_id=None))

    def records_aside(self, dataset: str) -> list[tuple[str, str, datetime]]:
        """Manifests whose last commit set records aside: id, key of the document with them, when it was committed."""
        with self._transaction() as connection:
            return list(self._queries.records_aside(connection, dataset=dataset))

    def latest_manifests(self, dataset: str, most: int) -> list[ManifestSummary]:
        """The manifests that changed last, the newest first."""
        with self._transaction() as connection:
            return list(self._queries.latest_manifests(connection, dataset=dataset, most=most))

    def schema(self, dataset: str) -> SchemaVersion | None:
        """The newest version of a dataset's schema."""
        with self._transaction() as connection:
            newest: SchemaVersion | None = self._queries.schema(connection, dataset=dataset)
            return newest

    def schema_history(self, dataset: str) -> list[SchemaVersion]:
        """Every version of a dataset's schema, oldest first."""
        with self._transaction() as connection:
            return list(self._queries.schema_history(connection, dataset=dataset))
