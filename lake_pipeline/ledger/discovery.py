"""The ledger's part in discovery: new files in, and where a listing stands."""

from __future__ import annotations

from collections.abc import Iterable

from lake_pipeline.ledger.connection import LedgerConnection
from lake_pipeline.ledger.models import ListedObject, Registered


class DiscoveryLedger(LedgerConnection):
    """Which object versions are known."""

    def register(self, dataset: str, objects: Iterable[ListedObject], *, cursor: str | None = None) -> Registered:
        """Record objects that the store holds now, in one transaction with the listing's cursor, if there is one.

        A new ETag under a known key is a new version. Where the old one has rows in the lake, its manifest is planned
        again with the new version in its place; where it is being converted, the new one waits for that; else the old
        one is SUPERSEDED at once.
        """
        newest = {item.key: item for item in objects}
        with self._writing(dataset) as connection:
            self._queries.create_incoming(connection)
            with connection.cursor() as cursor_, cursor_.copy("COPY incoming FROM STDIN") as copy:
                for item in newest.values():
                    copy.write_row((item.key, item.etag, item.size, item.last_modified, item.landing_group))
            connection.execute("ANALYZE incoming")
            new, versioned = self._queries.register_incoming(connection, dataset=dataset)
            if new < len(newest):
                restored = [key for (key,) in self._queries.restore_incoming(connection, dataset=dataset)]
                new += len(restored)
                versioned += restored
            self._settle_versions(connection, dataset, versioned)
            if cursor is not None:
                self._queries.save_cursor(connection, dataset=dataset, last_key=cursor)
        return Registered(new, len(newest) - new)

    def cursor(self, dataset: str) -> str | None:
        """The last key of a listing that was broken off; None where none was."""
        with self._transaction() as connection:
            last_key: str | None = self._queries.cursor(connection, dataset=dataset)
            return last_key

    def clear_cursor(self, dataset: str) -> None:
        """The listing came to its end; the next one starts anew."""
        with self._transaction() as connection:
            self._queries.clear_cursor(connection, dataset=dataset)

    def unconverted(self, dataset: str, keys: list[str]) -> dict[int, str]:
        """Id and key of the versions of these keys that wait or have failed, with no rows in the lake."""
        with self._transaction() as connection:
            return dict(self._queries.unconverted_versions(connection, dataset=dataset, keys=keys))

    def supersede_deleted(self, dataset: str, ids: list[int], message: str) -> int:
        """The objects of these versions were deleted before they were converted; how many versions that ends."""
        with self._writing(dataset) as connection:
            ended: int = self._queries.supersede_deleted(connection, dataset=dataset, ids=ids, message=message)
            return ended
