"""The ledger's part in taking over from an old system: files that are done, in manifests that were never converted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self, cast

from lake_pipeline.failpoints import failpoint
from lake_pipeline.ledger.archive import ArchiveLedger
from lake_pipeline.ledger.attempts import AttemptLedger
from lake_pipeline.ledger.connection import Connection
from lake_pipeline.ledger.discovery import DiscoveryLedger
from lake_pipeline.ledger.models import FileOutcome, ListedObject
from lake_pipeline.ledger.planning import PlanningLedger
from lake_pipeline.manifests import Manifest
from lake_pipeline.workers import worker_name

# An imported manifest's metrics, by which the ledger knows that its files have no rows in the lake.
IMPORTED = "imported"
_LEASE = timedelta(minutes=1)  # which nobody sees, for it is given and ended in one transaction


@dataclass(frozen=True)
class DoneFile:
    """An object that an old system has converted; `archived_key` is where it lies now, None: where it landed."""

    listed: ListedObject
    archived_key: str | None


class ImportLedger(DiscoveryLedger, PlanningLedger, AttemptLedger, ArchiveLedger):
    """Files that another system has converted."""

    def import_files(
        self,
        dataset: str,
        done: Collection[DoneFile],
        waiting: Collection[ListedObject],
        *,
        max_files: int,
        max_bytes: int,
        metrics: Mapping[str, Any],
    ) -> list[str]:
        """Record files that are done, and files that are not, in one transaction; ids of the manifests that it made.

        Done files are SUCCEEDED in manifests without outputs, COMMITTED, of up to so many files and bytes of a landing
        group. What the ledger knows otherwise than as waiting stays as it is, so this may be repeated. Nobody is told
        of these manifests: nothing was converted.
        """
        places = {file.listed.key: file.archived_key for file in done}
        groups: dict[str, list[str]] = {}
        for file in done:
            groups.setdefault(file.listed.landing_group, []).append(file.listed.key)
        made: list[str] = []
        with self._as_one(dataset) as one:
            one.register(dataset, [*(file.listed for file in done), *waiting])
            for group, keys in groups.items():
                while claimed := one.claim_manifest(dataset, group, max_files, max_bytes, keys=keys):
                    one._commit_imported(claimed, places, dict(metrics))
                    made.append(claimed.manifest_id)
            failpoint("import.importing")
        failpoint("import.imported")
        return made

    def _commit_imported(self, manifest: Manifest, places: Mapping[str, str | None], metrics: dict[str, Any]) -> None:
        dataset, manifest_id = manifest.dataset, manifest.manifest_id
        self.commit_manifest(
            dataset,
            manifest_id,
            self.begin_attempt(dataset, manifest_id, worker_name(), _LEASE),
            files=[FileOutcome(file.id, "SUCCEEDED") for file in manifest.files],
            outputs=[],
            metrics={**metrics, IMPORTED: True},
        )
        self.record_archived(dataset, [(file.id, place) for file in manifest.files if (place := places[file.key])])
        with self._transaction() as connection:
            self._queries.imported_is_told(connection, dataset=dataset, manifest_id=manifest_id)

    @contextmanager
    def _as_one(self, dataset: str) -> Iterator[Self]:
        """A ledger all of whose methods are one transaction, alone in the dataset."""
        with self._writing(dataset) as connection:
            yield type(self)(cast(Any, _Held(connection)), patience=timedelta(0))


class _Held:
    """In place of a pool: always the same connection, within its transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        yield self._connection
