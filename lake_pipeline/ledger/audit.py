"""The ledger's part in an audit: what it knows, in the order in which a store lists it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from psycopg.rows import class_row

from lake_pipeline.ledger.audit_models import KnownOutput, KnownVersion
from lake_pipeline.ledger.connection import LedgerConnection
from lake_pipeline.ledger.models import ManifestRow

_Row = TypeVar("_Row", KnownVersion, KnownOutput)
_AT_ONCE = 2000


class AuditLedger(LedgerConnection):
    """What should be in the store. What is streamed is seen at one moment, and held nowhere as a whole."""

    def known_versions(self, dataset: str) -> Iterator[KnownVersion]:
        """Every version of a raw file by key, each key's current one first, streamed."""
        return self._streamed(KnownVersion, self._queries.known_versions.sql, dataset=dataset, keys=None)

    def versions_of(self, dataset: str, keys: list[str]) -> list[KnownVersion]:
        """The same of these keys, as they are now."""
        with self._transaction() as connection:
            return list(self._queries.known_versions(connection, dataset=dataset, keys=keys))

    def versions_by_place(self, dataset: str) -> Iterator[KnownVersion]:
        """Versions that were moved, by where they lie, the current ones first, streamed."""
        return self._streamed(KnownVersion, self._queries.versions_by_place.sql, dataset=dataset)

    def known_outputs(self, dataset: str) -> Iterator[KnownOutput]:
        """Curated files, committed or not, by path, streamed."""
        return self._streamed(KnownOutput, self._queries.known_outputs.sql, dataset=dataset, paths=None)

    def outputs_of(self, dataset: str, paths: list[str]) -> dict[str, KnownOutput]:
        """Those of these paths, as they are now."""
        with self._transaction() as connection:
            found = self._queries.known_outputs(connection, dataset=dataset, paths=paths)
            return {output.path: output for output in found}

    def manifests_of(self, dataset: str, manifest_ids: set[str]) -> dict[str, ManifestRow]:
        """These manifests, as they are now, by id."""
        with self._transaction() as connection:
            found = self._queries.manifests_of(connection, dataset=dataset, manifest_ids=sorted(manifest_ids))
            return {row.manifest_id: row for row in found}

    def manifests_with_rows(self, dataset: str) -> list[tuple[str, int]]:
        """Id and last attempt of the manifests that have rows in the lake and that nobody converts anew."""
        with self._transaction() as connection:
            return list(self._queries.manifests_with_rows(connection, dataset=dataset))

    def rows_by_file(self, dataset: str, manifest_id: str) -> dict[str, int]:
        """How many rows the last commit of a manifest wrote of each key; empty where that was pruned."""
        with self._transaction() as connection:
            return dict(self._queries.rows_by_file(connection, dataset=dataset, manifest_id=manifest_id))

    def rows_by_output(self, dataset: str, manifest_id: str) -> list[tuple[str, int, str | None]]:
        """Path and rows of a manifest's committed files, and the key of the raw file that each is of, if of one."""
        with self._transaction() as connection, self._joining_by_hash(connection):
            return list(self._queries.rows_by_output(connection, dataset=dataset, manifest_id=manifest_id))

    def held_manifests(self, dataset: str) -> list[tuple[str, int, str, bool]]:
        """Id, attempt and worker of the manifests that are RUNNING, and whether the lease has run out."""
        with self._transaction() as connection:
            return list(self._queries.held_manifests(connection, dataset=dataset))

    def _streamed(self, record: type[_Row], sql: str, **parameters: Any) -> Iterator[_Row]:
        with (
            self._transaction() as connection,
            connection.cursor("audit", row_factory=class_row(record)) as cursor,
        ):
            cursor.itersize = _AT_ONCE
            cursor.execute(sql, parameters)
            yield from cursor
