"""What happened, as its authors tell it: what the generators landed, and what befell the processes."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

Record = dict[str, str | int]


@dataclass(frozen=True)
class Landing:
    """One version under a key; `records` are those that a table must hold, none where the file is bad."""

    dataset: str
    key: str
    version: int
    kind: str
    bad: bool
    records: tuple[Record, ...]
    digest: str
    size: int


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Journal:
    """Versions of each key in the order in which they landed, and events with their times; for many threads."""

    versions: dict[tuple[str, str], list[Landing]] = field(default_factory=dict)
    events: list[tuple[float, str, str]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def land(self, landing: Landing) -> None:
        with self._lock:
            self.versions.setdefault((landing.dataset, landing.key), []).append(landing)

    def tell(self, kind: str, what: str) -> None:
        with self._lock:
            self.events.append((time.monotonic() - self.began, kind, what))

    def counts(self) -> Counter[str]:
        """Events by kind."""
        with self._lock:
            return Counter(kind for _, kind, _ in self.events)

    def landings(self) -> Counter[str]:
        """Versions landed by kind."""
        with self._lock:
            return Counter(landing.kind for landings in self.versions.values() for landing in landings)

    def schedule(self) -> str:
        """Every event, one a line, by seconds from the start."""
        with self._lock:
            return "\n".join(f"{at:8.2f} {kind:10} {what}" for at, kind, what in self.events)
