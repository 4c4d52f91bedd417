"""The ledger's part after a commit: curated files and leftovers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lake_pipeline.ledger.connection import LedgerConnection
from lake_pipeline.ledger.models import OutputFile


@dataclass(frozen=True)
class Release:
    """Committed content, from where to which name; names to delete; and `check`, an error once the lock is lost."""

    copies: list[tuple[str, str]]
    leftovers: list[str]
    check: Callable[[], object]


class OutputLedger(LedgerConnection):
    """What is in the lake."""

    def committed_outputs(self, dataset: str) -> list[OutputFile]:
        """The curated files of a dataset, by path."""
        with self._transaction() as connection:
            return list(self._queries.committed_outputs(connection, dataset=dataset))

    def committed_rows(self, dataset: str) -> int:
        """The rows of all curated files of a dataset."""
        with self._transaction() as connection:
            return int(self._queries.committed_rows(connection, dataset=dataset))

    def example_output(self, dataset: str) -> str | None:
        """The path of one of a dataset's curated files, if there are any."""
        with self._transaction() as connection:
            path: str | None = self._queries.example_output(connection, dataset=dataset)
            return path

    def commit_mark(self, dataset: str) -> str:
        """A text that differs after every commit of the dataset and every release; empty before the first."""
        with self._transaction() as connection:
            return str(self._queries.commit_mark(connection, dataset=dataset))

    def leftover_outputs(self, dataset: str) -> list[str]:
        """Paths that attempts which are over may have left in the store and no commit lists."""
        with self._transaction() as connection:
            return [path for (path,) in self._queries.leftover_outputs(connection, dataset=dataset)]

    def leftover_records(self, dataset: str, documents: Collection[tuple[str, str, int]]) -> list[str]:
        """Those of the documents of set-aside records (key, manifest, attempt) that are of no commit, nor can be."""
        found = list(documents)
        with self._transaction() as connection:
            leftovers = self._queries.leftover_records(
                connection,
                dataset=dataset,
                keys=[key for key, _, _ in found],
                manifest_ids=[manifest_id for _, manifest_id, _ in found],
                attempts=[attempt for _, _, attempt in found],
            )
            return [key for (key,) in leftovers]

    def forget_outputs(self, dataset: str, paths: Collection[str]) -> None:
        """Leftovers that were deleted from the store; committed ones are kept."""
        with self._transaction() as connection:
            self._queries.forget_outputs(connection, dataset=dataset, paths=list(paths))

    def output_sources(self, dataset: str) -> dict[str, str]:
        """The raw file's key of each curated file that is one raw file's."""
        with self._transaction() as connection, self._joining_by_hash(connection):
            return dict(self._queries.output_sources(connection, dataset=dataset))

    def manifests_to_release(self, dataset: str) -> list[str]:
        """Manifests whose committed files are not all under their names, or that have names no commit lists."""
        with self._transaction() as connection:
            return [found for (found,) in self._queries.manifests_to_release(connection, dataset=dataset)]

    def unreleased_outputs(self, dataset: str) -> list[str]:
        """Names that are still to get committed content."""
        with self._transaction() as connection:
            return [path for (path,) in self._queries.unreleased_outputs(connection, dataset=dataset)]

    def is_released(self, dataset: str, manifest_id: str) -> bool:
        """Whether every committed file of the manifest is under its name."""
        with self._transaction() as connection:
            return bool(self._queries.is_released(connection, dataset=dataset, manifest_id=manifest_id))

    @contextmanager
    def releasing(self, dataset: str, manifest_id: str) -> Iterator[Release]:
        """What is to be copied and deleted; told to the ledger when the block ends.

        The manifest's row is locked meanwhile: nobody can commit, begin or reap an attempt, or release beside this.

        Raises:
            LedgerError: the lock is lost.
        """
        this = {"dataset": dataset, "manifest_id": manifest_id}
        with self._transaction() as connection:
            self._queries.limit_idleness(connection)
            self._queries.lock_manifest(connection, **this)
            copies = list(self._queries.outputs_to_release(connection, **this))
            leftovers = [path for (path,) in self._queries.manifest_leftovers(connection, **this)]
            yield Release(copies, leftovers, lambda: self._queries.lock_manifest(connection, **this))
            self._queries.mark_released(connection, **this, paths=[path for _, path in copies])
            self._queries.forget_outputs(connection, dataset=dataset, paths=leftovers)
