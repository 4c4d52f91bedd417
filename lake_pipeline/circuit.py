"""A circuit breaker's states: when to stop calling a service that keeps failing, and when to try it again (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

# One failure is weather; so many in a row, each after the client's own retries, are an outage.
THRESHOLD = 5
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(minutes=15)
# One caller tries a half-open circuit; should it be killed at that, another may after this time.
TRIAL = timedelta(minutes=2)


@dataclass(frozen=True)
class Circuit:
    """Closed (calls go through), open (none does until `open_until`), then half-open (one does, as a trial).

    `failures` are those in a row; `last_error` is the newest of them.
    """

    failures: int = 0
    open_until: datetime | None = None
    last_error: str | None = None

    def state(self, now: datetime) -> Literal["closed", "open", "half-open"]:
        if self.open_until is None:
            return "closed"
        return "open" if now < self.open_until else "half-open"

    def on_trial(self, now: datetime) -> Circuit:
        """Half-open, and a caller has taken the trial: open to everyone else meanwhile."""
        return Circuit(self.failures, now + TRIAL, self.last_error)

    def failed(self, now: datetime, error: str, jitter: float) -> Circuit:
        """After one more failure; `jitter`, 0 to 1, spreads what waits over the second half of its wait.

        The wait doubles with every failed trial. (Equal jitter, as in AWS's Builders' Library.)
        """
        failures = self.failures + 1
        if failures < THRESHOLD:
            return Circuit(failures, None, error)
        doublings = min(failures - THRESHOLD, 16)
        wait = min(FIRST_WAIT * 2**doublings, LONGEST_WAIT)
        return Circuit(failures, now + wait * (0.5 + jitter / 2), error)
