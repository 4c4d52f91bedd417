"""The ledger's part in new versions that cannot take the place of old ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lake_pipeline.ledger.connection import LedgerConnection
from lake_pipeline.ledger.messages import postgres_text
from lake_pipeline.ledger.models import Replacement, Withdrawal


class VersionLedger(LedgerConnection):
    """Which new versions wait in committed manifests, and taking them out again."""

    def replacements(self, dataset: str, manifest_ids: Sequence[str]) -> list[Replacement]:
        """New versions in these manifests that are to replace rows of older ones, oldest first."""
        with self._transaction() as connection:
            return list(self._queries.replacements(connection, dataset=dataset, manifest_ids=list(manifest_ids)))

    def withdraw(
        self,
        dataset: str,
        manifest_id: str,
        judge: Callable[[Replacement], Withdrawal | None],
        *,
        attempt: int | None = None,
    ) -> list[Withdrawal]:
        """Take those new versions out of a manifest that `judge` gives a reason for; the reasons.

        Where nothing else is to be changed in it, the manifest is COMMITTED again, as its last commit left it; else it
        is PLANNED, and its next attempt converts the older versions. `judge` is asked while nobody registers, so that
        what lands after it has looked is a version anew. With `attempt`, that attempt ends by it; without, a manifest
        that is being converted is left alone.

        Raises:
            LeaseLost: another attempt has taken over.
        """
        this = {"dataset": dataset, "manifest_id": manifest_id}
        with self._writing(dataset) as connection:
            if attempt is not None:
                self._hold(connection, dataset, manifest_id, attempt)
            elif (self._queries.lock_manifest(connection, **this) or ("RUNNING",))[0] not in ("PLANNED", "FAILED"):
                return []
            waiting = [key for (key,) in self._queries.keys_with_waiting_version(connection, **this)]
            found = self._queries.replacements(connection, dataset=dataset, manifest_ids=[manifest_id])
            reasons = [reason for version in list(found) if (reason := judge(version)) is not None]
            if not reasons:
                return []
            self._queries.withdraw_files(
                connection,
                **this,
                ids=[reason.id for reason in reasons],
                statuses=[reason.status for reason in reasons],
                classes=[reason.error_class for reason in reasons],
                messages=[postgres_text(reason.error_message) for reason in reasons],
            )
            if self._queries.is_as_committed(connection, **this):
                self._queries.recommit_files(connection, **this)
                self._queries.recommit_manifest(connection, **this)
            else:
                self._queries.replan_files(connection, **this)
                self._queries.replan_manifest(connection, **this)
            if attempt is not None:
                self._queries.forget_engine_run(connection, **this)
            self._settle_versions(connection, dataset, waiting)
            return reasons
