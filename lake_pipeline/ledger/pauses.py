"""Datasets of which nothing is begun for a while, because somebody says so."""

from __future__ import annotations

from collections.abc import Iterable

from lake_pipeline.errors import LakePaused
from lake_pipeline.ledger.connection import LedgerConnection
from lake_pipeline.ledger.messages import postgres_text
from lake_pipeline.ledger.pause_models import Pause


class PauseLedger(LedgerConnection):
    """Which datasets are paused. What is under way goes on; what lands is registered."""

    def pause(self, datasets: Iterable[str], paused_by: str, reason: str | None) -> None:
        """Begin nothing more of these; one that is paused already stays so as it is."""
        why = postgres_text(reason) if reason is not None else None
        with self._transaction() as connection:
            self._queries.pause(connection, datasets=sorted(datasets), paused_by=paused_by, reason=why)

    def resume(self, datasets: Iterable[str]) -> int:
        """Let work of these begin again; how many were paused."""
        with self._transaction() as connection:
            return int(self._queries.resume(connection, datasets=sorted(datasets)))

    def pauses(self) -> dict[str, Pause]:
        """What is paused, by dataset."""
        with self._transaction() as connection:
            return {pause.dataset: pause for pause in self._queries.pauses(connection)}

    def check_not_paused(self, dataset: str) -> None:
        """LakePaused where nothing of the dataset is to be begun."""
        if pause := self.pauses().get(dataset):
            raise LakePaused(f"{pause}; lake resume {dataset}")
