"""The ledger's part in doing it again."""

from __future__ import annotations

from lake_pipeline.errors import LedgerError, NothingMatched
from lake_pipeline.failpoints import failpoint
from lake_pipeline.ledger.attempts import AttemptLedger
from lake_pipeline.ledger.models import FileStatus, Requeued


class RequeueLedger(AttemptLedger):
    """Sending files back to PENDING."""

    def requeue(
        self,
        dataset: str,
        *,
        key: str | None = None,
        status: FileStatus | None = None,
        manifest: str | None = None,
    ) -> Requeued:
        """Do files again, named by one of the three.

        Files with rows in the lake go back with their whole manifest, so that its rows are replaced, not added;
        quarantined and failed ones go into a new manifest.

        Raises:
            NothingMatched: there is no such key, or no such manifest.
            LedgerError: not exactly one of the three, or a worker is converting it.
        """
        if [key, status, manifest].count(None) != 2:
            raise LedgerError("name one of a key, a status or a manifest to requeue")
        self.reap(dataset)
        with self._writing(dataset) as connection:
            self._queries.create_requeued(connection)
            selected = self._queries.select_requeued(
                connection, dataset=dataset, key=key, status=status, manifest_id=manifest
            )
            if not selected and status is None:
                raise NothingMatched(f"{dataset} has no file with {'key' if key else 'manifest'} {key or manifest}")
            running = self._queries.running_of_requeued(connection, dataset=dataset)
            if running is not None:
                raise LedgerError(f"{dataset} {running} is being converted; requeue it when that is over")
            manifests = self._queries.replan_requeued(connection, dataset=dataset)
            files = self._queries.requeue_members(connection, dataset=dataset)
            files += self._queries.requeue_loose(connection, dataset=dataset)
            failpoint("requeue.changing")
        failpoint("requeue.changed")
        return Requeued(files, manifests)
