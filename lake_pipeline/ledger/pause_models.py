"""What the ledger gives of pauses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Pause:
    """Since when nothing of a dataset is begun, by whose word, and why."""

    dataset: str
    since: datetime
    paused_by: str
    reason: str | None

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"{self.dataset} is paused since {self.since:%Y-%m-%d %H:%M:%S %Z} by {self.paused_by}{why}"
