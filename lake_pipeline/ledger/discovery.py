"""The ledger's part in discovery: new files in, and where a listing stands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from lake_pipeline.failpoints import failpoint
from lake_pipeline.ledger.connection import Connection, LedgerConnection
from lake_pipeline.ledger.models import ListedObject, Registered

_COPY = "COPY incoming (s3_key, etag, size, last_modified, landing_group) FROM STDIN (FORMAT BINARY)"
_TYPES = ["text", "text", "int8", "timestamptz", "text"]


class DiscoveryLedger(LedgerConnection):
    """Which object versions are known."""

    def register(
        self,
        dataset: str,
        objects: Collection[ListedObject],
        *,
        cursor: str | None = None,
        etag_now: Callable[[str], str | None] | None = None,
    ) -> Registered:
        """Record objects that the store holds now, in one transaction with the listing's cursor, if there is one.

        A new ETag under a known key is a new version. Where the old one has rows in the lake, its manifest is planned
        again with the new version in its place; where it is being converted, the new one waits for that; else the old
        one is SUPERSEDED at once. A known version that was moved away and is here again is marked, to be moved again;
        one that had come in its place and could not be read is SUPERSEDED.

        What is older than a known version of its key may have been seen before that one landed, and be registered too
        late. So `etag_now` is asked what lies under the key, while nobody else registers; another version counts as
        known. (The time alone does not tell: a directory's may go back, and S3 dates an upload in parts by its begin.)
        """
        newest = {item.key: item for item in objects}
        with self._writing(dataset) as connection:
            if not self._copy_in(connection, dataset, newest.values()):
                new = self._queries.register_new(connection, dataset=dataset)
                self._registered(connection, dataset, cursor)
                return Registered(new, 0)
            if etag_now is not None:
                doubtful = list(self._queries.doubtful_incoming(connection, dataset=dataset))
                self._queries.limit_idleness(connection)  # while the store is asked
                stale = [key for key, etag in doubtful if etag_now(key) != etag]
                self._queries.forget_incoming(connection, keys=stale)
            new, versioned = self._queries.register_incoming(connection, dataset=dataset)
            if new < len(newest):
                restored = [key for (key,) in self._queries.restore_incoming(connection, dataset=dataset)]
                new += len(restored)
                versioned += restored
                relanded = [key for (key,) in self._queries.settled_relanded(connection, dataset=dataset)]
                self._unsettle(connection, dataset, keys=relanded)
                self._queries.mark_relanded(connection, dataset=dataset)
                self._queries.supersede_unread_replacements(connection, dataset=dataset)
            self._settle_versions(connection, dataset, versioned)
            self._registered(connection, dataset, cursor)
        return Registered(new, len(newest) - new)

    def register_unseen(self, dataset: str, objects: Collection[ListedObject]) -> tuple[int, list[str]]:
        """Record objects of keys that the ledger has never seen, in one transaction; how many those were.

        Of the others, the keys that it does not know in that version: nothing is recorded of them, for the object may
        be older than the version that is known.
        """
        distinct = {item.key: item for item in objects}
        with self._writing(dataset) as connection:
            self._copy_in(connection, dataset, distinct.values())
            unseen: int = self._queries.register_unseen(connection, dataset=dataset)
            otherwise_known = [key for (key,) in self._queries.otherwise_known(connection, dataset=dataset)]
            self._registered(connection, dataset, None)
            return unseen, otherwise_known

    def _copy_in(self, connection: Connection, dataset: str, objects: Iterable[ListedObject]) -> int:
        """How many of the objects' keys are known, in whatever version."""
        self._queries.create_incoming(connection)
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.set_types(_TYPES)
            for item in objects:
                copy.write_row((item.key, item.etag, item.size, item.last_modified, item.landing_group))
        if self._queries.none_is_between(connection, dataset=dataset):
            return 0
        known: int = self._queries.mark_known(connection, dataset=dataset)
        if known:
            connection.execute("ANALYZE incoming")
        return known

    def _registered(self, connection: Connection, dataset: str, cursor: str | None) -> None:
        if cursor is not None:
            self._queries.save_cursor(connection, dataset=dataset, last_key=cursor)
        failpoint("discovery.registering")

    def report_progress(self, dataset: str, url: str) -> tuple[int, int]:
        """How far an inventory report was read: whole files, and rows of the next one."""
        with self._transaction() as connection:
            files, rows = self._queries.report_progress(connection, dataset=dataset, url=url) or (0, 0)
            return files, rows

    def save_report_progress(self, dataset: str, url: str, files: int, rows: int) -> None:
        """Remember how far a report was read; what was remembered of another one is forgotten."""
        with self._transaction() as connection:
            self._queries.save_report_progress(connection, dataset=dataset, url=url, files=files, rows=rows)

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

    def archived_versions(self, dataset: str, versions: list[tuple[str, str]]) -> set[str]:
        """The keys of those of these (key, ETag) that were moved away, so that one lying there has landed again."""
        keys, etags = zip(*versions, strict=True) if versions else ((), ())
        with self._transaction() as connection:
            found = self._queries.archived_versions(connection, dataset=dataset, keys=list(keys), etags=list(etags))
            return {key for (key,) in found}

    def supersede_deleted(self, dataset: str, ids: list[int], message: str) -> int:
        """The objects of these versions were deleted before they were converted; how many versions that ends."""
        with self._writing(dataset) as connection:
            ended: int = self._queries.supersede_deleted(connection, dataset=dataset, ids=ids, message=message)
            return ended
