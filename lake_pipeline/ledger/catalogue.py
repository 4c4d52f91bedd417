"""The ledger's part in a shared catalogue: what its tables show, against what was committed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from lake_pipeline.ledger.connection import LedgerConnection
from lake_pipeline.ledger.models import ShownPartition


class CatalogueLedger(LedgerConnection):
    """Hive partitions whose files are not those that the catalogue shows."""

    @contextmanager
    def catalogue_lock(self, dataset: str) -> Iterator[None]:
        """Be alone in changing what the catalogue shows of a dataset; others wait, and commits do not."""
        with self._transaction() as connection:
            self._queries.lock_catalogue(connection, dataset=dataset)
            yield

    def catalogue_mark(self, dataset: str) -> str:
        """What `record_catalogue_mark` was told last; empty before the first time."""
        with self._transaction() as connection:
            return str(self._queries.catalogue_mark(connection, dataset=dataset) or "")

    def record_catalogue_mark(self, dataset: str, mark: str) -> None:
        """The table shows what this text stands for."""
        with self._transaction() as connection:
            self._queries.record_catalogue_mark(connection, dataset=dataset, mark=mark)

    def changed_partitions(self, dataset: str, keys: int, awaited: Collection[str]) -> list[ShownPartition]:
        """Partitions to show anew, with their committed files; one without files is to be hidden.

        `keys` is the number of Hive keys, which are the last folders of a file's path. Files that are `awaited` are
        left out.
        """
        with self._transaction() as connection:
            return list(self._queries.changed_partitions(connection, dataset=dataset, keys=keys, awaited=list(awaited)))

    def record_partitions(self, dataset: str, partitions: list[ShownPartition]) -> None:
        """The catalogue shows these as they are said to be."""
        shown = [item for item in partitions if item.files]
        with self._transaction() as connection:
            self._queries.record_shown(
                connection,
                dataset=dataset,
                partitions=[item.partition for item in shown],
                listings=[item.listing for item in shown],
            )
            self._queries.forget_shown(
                connection, dataset=dataset, partitions=[item.partition for item in partitions if not item.files]
            )

    def forget_catalogue(self, dataset: str) -> None:
        """The catalogue shows nothing of the dataset any more."""
        with self._transaction() as connection:
            self._queries.forget_catalogue_mark(connection, dataset=dataset)
            self._queries.forget_catalogue_partitions(connection, dataset=dataset)
