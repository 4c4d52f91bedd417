"""The ledger's part in writing commits down in the store, from where a lost ledger is rebuilt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import dict_row

from lake_pipeline.ledger.connection import LedgerConnection
from lake_pipeline.ledger.models import SchemaVersion


@dataclass(frozen=True)
class UnrecordedCommit:
    """A manifest whose document in the store tells of fewer changes, `recorded`, than there were; None: of none."""

    manifest_id: str
    recorded: int | None


@dataclass(frozen=True)
class CommitRecord:
    """The ledger's rows of a committed manifest, all of one moment; those of files and outputs are streamed."""

    manifest: dict[str, Any]
    files: Iterator[dict[str, Any]]
    outputs: Iterator[dict[str, Any]]


@dataclass(frozen=True)
class Mark:
    """How many changes of a dataset are in documents, and when the last of them was committed."""

    changes: int
    committed_at: datetime | None


class RecordingLedger(LedgerConnection):
    """What of the ledger is written down, and what is not yet."""

    def unrecorded_schemas(self, dataset: str) -> list[SchemaVersion]:
        """Versions of the schema without a document, oldest first."""
        with self._transaction() as connection:
            return list(self._queries.unrecorded_schemas(connection, dataset=dataset))

    def schema_recorded(self, dataset: str, version: int) -> None:
        """The version's document is in the store."""
        with self._transaction() as connection:
            self._queries.schema_recorded(connection, dataset=dataset, version=version)

    def unrecorded_commits(self, dataset: str, manifest_id: str | None = None) -> list[UnrecordedCommit]:
        """Committed manifests, or this one, that changed since their document was written."""
        with self._transaction() as connection:
            found = self._queries.unrecorded_commits(connection, dataset=dataset, manifest_id=manifest_id)
            return [UnrecordedCommit(*row) for row in found]

    @contextmanager
    def commit_record(self, dataset: str, manifest_id: str) -> Iterator[CommitRecord]:
        """What the ledger knows of a committed manifest."""
        this = {"dataset": dataset, "manifest_id": manifest_id}
        with self._transaction() as connection:
            self._queries.read_one_moment(connection)
            with connection.cursor(row_factory=dict_row) as rows:
                manifest = rows.execute(self._queries.recorded_manifest.sql, this).fetchone()

            def stream(name: str, query: Any) -> Iterator[dict[str, Any]]:
                with connection.cursor(name, row_factory=dict_row) as cursor:
                    cursor.itersize = 2000
                    cursor.execute(query.sql, this)
                    yield from cursor

            yield CommitRecord(
                manifest or {},
                stream("files", self._queries.recorded_files),
                stream("outputs", self._queries.recorded_outputs),
            )

    def commit_recorded(self, dataset: str, manifest_id: str, changes: int) -> None:
        """The document of so many changes is in the store."""
        with self._transaction() as connection:
            self._queries.commit_recorded(connection, dataset=dataset, manifest_id=manifest_id, changes=changes)

    @contextmanager
    def raising_mark(self, dataset: str) -> Iterator[Mark | None]:
        """The mark that the store is to be given, which is told to the ledger when the block ends; None: it has it.

        Nobody else raises it meanwhile.
        """
        with self._transaction() as connection:
            self._queries.limit_idleness(connection)
            self._queries.lock_mark(connection, dataset=dataset)
            found = self._queries.unwritten_mark(connection, dataset=dataset)
            yield Mark(*found) if found else None
            if found:
                self._queries.save_mark(connection, dataset=dataset, changes=found[0])

    def forget_recorded(self, dataset: str) -> None:
        """Everything of the dataset is to be written down anew."""
        with self._transaction() as connection:
            self._queries.forget_recorded_commits(connection, dataset=dataset)
            self._queries.forget_recorded_schemas(connection, dataset=dataset)
            self._queries.forget_mark(connection, dataset=dataset)
