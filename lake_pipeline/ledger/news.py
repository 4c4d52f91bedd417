"""A manifest with something to tell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lake_pipeline.ledger.models import ManifestState


@dataclass(frozen=True)
class ManifestNews:
    """A manifest with something to tell: that it was planned (`planned`), or how its attempt ended (`ended`).

    Files and rows are as they are by now: `rows` those in the table, `quarantined_files` with the first one's reason.
    """

    dataset: str
    manifest_id: str
    landing_group: str
    state: ManifestState
    attempt: int
    failures: int
    files: int
    bytes: int
    engine_run_id: str | None
    error_message: str | None
    planned_at: datetime
    started_at: datetime | None
    committed_at: datetime | None
    metrics: dict[str, Any] | None
    planned: bool
    ended: bool
    rows: int = 0
    outputs: int = 0
    succeeded_files: int = 0
    quarantined_files: int = 0
    quarantined_reason: str | None = None

    @property
    def completed(self) -> bool:
        """Whether a commit is to be told."""
        return self.ended and self.state == "COMMITTED"

    @property
    def failed(self) -> bool:
        """Whether a failed attempt is to be told."""
        return self.ended and self.state == "FAILED"

    @property
    def seconds(self) -> float:
        """From the attempt's begin to its commit."""
        return (self.committed_at - self.started_at).total_seconds() if self.committed_at and self.started_at else 0.0

    def counted(self, name: str) -> int:
        """A number of the commit's metrics, such as `rows_quarantined`."""
        return int((self.metrics or {}).get(name) or 0)

    @property
    def rows_dropped(self) -> int:
        return sum((self.metrics or {}).get("dropped", {}).values())

    @property
    def failed_checks(self) -> dict[str, int]:
        """Offending rows by check, of those that failed and stopped nothing."""
        return dict((self.metrics or {}).get("failed_checks", {}))
