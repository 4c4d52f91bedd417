"""The ledger's part in planning: what waits, and claiming it."""

from __future__ import annotations

from datetime import timedelta

from lake_pipeline.failpoints import failpoint
from lake_pipeline.ledger.connection import LedgerConnection
from lake_pipeline.ledger.models import GroupBacklog, PendingWork
from lake_pipeline.manifests import Manifest, manifest_id, manifest_slug


class PlanningLedger(LedgerConnection):
    """Files that belong to no manifest yet."""

    def revive_failed(
        self, dataset: str, max_retries: int, backoff: timedelta, *, keys: list[str] | None = None
    ) -> int:
        """Make failed files claimable again, up to `max_retries` times; the backoff doubles with each failure."""
        with self._working(dataset) as connection:
            count: int = self._queries.revive_failed(
                connection, dataset=dataset, max_retries=max_retries, backoff=backoff, keys=keys
            )
            return count

    def backlog(self, dataset: str, *, keys: list[str] | None = None) -> list[GroupBacklog]:
        """What waits for a manifest, of these keys or of all, by landing group, the longest waiting first."""
        with self._transaction() as connection:
            if keys is None:
                groups: list[GroupBacklog] = list(self._queries.backlog(connection, dataset=dataset))
            else:
                groups = list(self._queries.backlog_of(connection, dataset=dataset, keys=keys))
        return sorted(groups, key=lambda group: (group.oldest, group.landing_group))

    def claim_manifest(
        self, dataset: str, landing_group: str, max_files: int, max_bytes: int, *, keys: list[str] | None = None
    ) -> Manifest | None:
        """Make a manifest of a group's oldest files, up to both limits but at least one; None where none is left.

        With `keys`, only of files of these keys.
        """
        slug = manifest_slug(landing_group)
        with self._working(dataset) as connection:
            self._queries.lock_slug(connection, dataset=dataset, slug=slug)
            sequence = self._queries.next_sequence(connection, dataset=dataset, slug=slug)
            claimed = Manifest(
                dataset,
                manifest_id(slug, sequence),
                landing_group,
                tuple(
                    self._queries.claim_files(
                        connection,
                        dataset=dataset,
                        landing_group=landing_group,
                        manifest_id=manifest_id(slug, sequence),
                        max_files=max_files,
                        max_bytes=max_bytes,
                        keys=keys,
                    )
                ),
            )
            if not claimed.files:
                return None
            self._queries.insert_manifest(
                connection,
                dataset=dataset,
                manifest_id=claimed.manifest_id,
                landing_group=landing_group,
                slug=slug,
                sequence=sequence,
                files=len(claimed.files),
                bytes=claimed.bytes,
            )
            failpoint("planning.claiming")
            return claimed

    def pending_work(self, dataset: str, max_retries: int) -> PendingWork:
        """What is left to do."""
        with self._transaction() as connection:
            work: PendingWork = self._queries.pending_work(connection, dataset=dataset, max_retries=max_retries)
            return work
