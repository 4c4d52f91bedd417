"""The ledger's part in saying which lake it is of."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from lake_pipeline.ledger.connection import LedgerConnection


@dataclass(frozen=True)
class KnownLake:
    """The lake that a ledger is of; `stored`: its store was seen to say the same."""

    lake: uuid.UUID
    stored: bool


class IdentityLedger(LedgerConnection):
    """Which lake this is, and how much of it the ledger knows."""

    def known_lake(self) -> KnownLake | None:
        """The lake that this ledger is of; None where nobody has said so yet."""
        with self._transaction() as connection:
            found = self._queries.known_lake(connection)
            return KnownLake(*found) if found else None

    def make_lake(self) -> KnownLake:
        """Give the ledger an identity, of many who try at once the same."""
        with self._transaction() as connection:
            self._queries.make_lake(connection, lake=uuid.uuid4())
            return KnownLake(*self._queries.known_lake(connection))

    def lake_is_stored(self) -> None:
        """The store says the same."""
        with self._transaction() as connection:
            self._queries.lake_is_stored(connection)

    def adopt_lake(self, lake: uuid.UUID) -> None:
        """The ledger is of this lake from now on, whichever it was of before; the store says the same."""
        with self._transaction() as connection:
            self._queries.adopt_lake(connection, lake=lake)

    def has_manifests(self) -> bool:
        """Whether anything was ever planned."""
        with self._transaction() as connection:
            return bool(self._queries.has_manifests(connection))

    def has_commits(self) -> bool:
        """Whether anything was ever committed."""
        with self._transaction() as connection:
            return bool(self._queries.has_commits(connection))

    def changes(self, dataset: str) -> int:
        """How often what readers are to see of a dataset has changed; never falls."""
        with self._transaction() as connection:
            return int(self._queries.changes(connection, dataset=dataset))
