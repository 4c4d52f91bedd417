"""The ledger's part in costs: what attempts took, what waits, and what was estimated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from lake_pipeline.ledger.connection import LedgerConnection

# Enough to be the mean of something, and few enough to be of these days.
_MEASURED = 200


@dataclass(frozen=True)
class Taken:
    """What committed manifests took in all; `bytes` are of raw files, `output_bytes` of curated ones."""

    manifests: int
    files: int
    bytes: int
    outputs: int
    output_bytes: int
    seconds: float
    dpu_seconds: float
    dollars: float


@dataclass(frozen=True)
class SavedEstimate:
    """What was estimated last of all that waited then; seconds are those of all attempts."""

    dataset: str
    engine: str
    made_at: datetime
    manifests: int
    files: int
    bytes: int
    seconds: float
    dpu_seconds: float
    dollars: float


class CostLedger(LedgerConnection):
    """What was spent, and what will be."""

    def record_cost(self, dataset: str, manifest_id: str, attempt: int, cost: dict[str, Any]) -> None:
        """Keep what a committed attempt took in its manifest's metrics; nothing where another has begun since."""
        this = {"dataset": dataset, "manifest_id": manifest_id, "attempt": attempt}
        with self._transaction() as connection:
            self._queries.record_cost(connection, **this, cost=Jsonb(cost))

    def taken(self, dataset: str | None, engine: str) -> Taken:
        """What the last commits on an engine took, of a dataset or of every one."""
        return self._taken(dataset, engine, None, _MEASURED)

    def taken_since(self, dataset: str, since: datetime) -> Taken:
        """What a dataset's commits since then took, on whatever engine."""
        return self._taken(dataset, None, since, None)

    def planned_work(self, dataset: str) -> tuple[int, int, int]:
        """Manifests that are planned and not committed, their files, and the bytes of these."""
        with self._transaction() as connection:
            manifests, files, bytes_ = self._queries.planned_work(connection, dataset=dataset)
            return manifests, files, bytes_

    def save_estimate(self, dataset: str, engine: str, **figures: float) -> None:
        """Remember an estimate in place of the last, with the figures of `SavedEstimate`."""
        with self._transaction() as connection:
            self._queries.save_estimate(connection, dataset=dataset, engine=engine, **figures)

    def saved_estimate(self, dataset: str) -> SavedEstimate | None:
        """The last estimate of a dataset."""
        with self._transaction() as connection:
            found = self._queries.saved_estimate(connection, dataset=dataset)
            return SavedEstimate(*found) if found else None

    def _taken(self, dataset: str | None, engine: str | None, since: datetime | None, most: int | None) -> Taken:
        with self._transaction() as connection:
            found = self._queries.measured_costs(connection, dataset=dataset, engine=engine, since=since, most=most)
            return Taken(*found)
