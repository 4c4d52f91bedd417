"""The ledger's part in doing it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Unpack

from lake_pipeline.errors import LedgerError, NothingMatched
from lake_pipeline.failpoints import failpoint
from lake_pipeline.ledger.attempts import AttemptLedger
from lake_pipeline.ledger.connection import Connection
from lake_pipeline.ledger.models import Requeued, RequeuePlan
from lake_pipeline.ledger.selectors import Selectors, selector_parameters, selectors_text
from lake_pipeline.manifests import ManifestFile


class RequeueLedger(AttemptLedger):
    """Sending files back to PENDING."""

    def requeue(self, dataset: str, **selectors: Unpack[Selectors]) -> Requeued:
        """Do files again, those for which every selector holds.

        Files with rows in the lake go back with their whole manifest, so that its rows are replaced, not added;
        quarantined and failed ones go into a new manifest, or into the one that holds the rows of an older version.

        Raises:
            NothingMatched: there is no such file.
            LedgerError: no selector was given, or a worker is converting one of the files.
        """
        with self._selected(dataset, selectors) as connection:
            manifests = [found for (found,) in self._queries.requeued_manifests(connection)]
            self._unsettle(connection, dataset, manifest_ids=manifests)
            self._queries.replan_requeued(connection, dataset=dataset)
            files = self._queries.requeue_members(connection, dataset=dataset)
            loose = [key for (key,) in self._queries.requeue_loose(connection, dataset=dataset)]
            self._settle_versions(connection, dataset, loose)
            failpoint("requeue.changing")
        failpoint("requeue.changed")
        return Requeued(files + len(loose), len(manifests))

    def requeue_plan(self, dataset: str, **selectors: Unpack[Selectors]) -> RequeuePlan:
        """What `requeue` would do and rewrite; nothing is changed.

        Raises:
            NothingMatched, LedgerError: as `requeue` does.
        """
        with self._selected(dataset, selectors) as connection:
            manifests = [found for (found,) in self._queries.requeued_manifests(connection)]
            files = self._queries.requeued_files(connection, dataset=dataset)
            loose: list[ManifestFile] = list(self._queries.requeued_loose(connection, dataset=dataset))
            outputs, rows, size = self._queries.requeued_outputs(connection, dataset=dataset, manifest_ids=manifests)
            return RequeuePlan(files, tuple(manifests), tuple(loose), outputs, rows, size)

    @contextmanager
    def _selected(self, dataset: str, selectors: Selectors) -> Iterator[Connection]:
        """A transaction in which the files meant, and the manifests to be replayed for them, are collected."""
        parameters = selector_parameters(selectors)
        self.reap(dataset)
        with self._writing(dataset) as connection:
            self._queries.create_requeued(connection)
            if not self._queries.select_requeued(connection, dataset=dataset, **parameters):
                output = self._queries.example_output(connection, dataset=dataset) if parameters["partition"] else None
                known = f"; its outputs lie in partitions such as that of {output}" if output else ""
                raise NothingMatched(f"{dataset} has no file with {selectors_text(selectors)}{known}")
            running = self._queries.running_of_requeued(connection, dataset=dataset)
            if running is not None:
                raise LedgerError(f"{dataset} {running} is being converted; requeue it when that is over")
            yield connection
