"""Mending what an audit found, where that is safe: each step may be repeated, and none deletes what others wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from lake_pipeline.archiving import moved_before
from lake_pipeline.audit.classes import CLASSES, FINISHED, REPLANNED, Difference
from lake_pipeline.dataset import Dataset
from lake_pipeline.discovery.listing import listed, storable
from lake_pipeline.errors import LakeError
from lake_pipeline.guard import check_ledger
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.audit_models import KnownVersion
from lake_pipeline.ledger.models import ArchivableFile
from lake_pipeline.progress import finish_interrupted
from lake_pipeline.store import Move, batched

# So many differences are mended together.
_AT_ONCE = 1000
_DELETED = "the object was deleted, which an audit found"


@dataclass(frozen=True)
class Mended:
    """A difference, whether it was mended, and how or why not. A manifest that is planned again is mended by a run."""

    difference: Difference
    done: bool
    how: str


@dataclass
class Repair:
    """Mends a dataset's differences; with `dry_run` it only says what it would do."""

    lake: Lake
    dataset: Dataset
    dry_run: bool = False
    _finished: bool = False
    _planned: dict[str, str] = field(default_factory=dict)

    def __call__(self, differences: Iterable[Difference]) -> Iterator[Mended]:
        """What became of each difference; those of one class together, as far as they come near each other.

        Raises:
            LedgerMismatch: the ledger is not this lake's, or is older than it; nothing was mended.
        """
        if not self.dry_run:
            check_ledger(self.lake, [self.dataset])
        for some in batched(differences, _AT_ONCE):
            by_kind: dict[str, list[Difference]] = {}
            for difference in some:
                by_kind.setdefault(difference.kind, []).append(difference)
            for kind, batch in by_kind.items():
                yield from self._mend(kind, batch)

    def _mend(self, kind: str, batch: list[Difference]) -> Iterator[Mended]:
        act = self._act(kind)
        if act is None:
            yield from (Mended(difference, False, "only reported") for difference in batch)
            return
        try:
            refused = act(batch)
        except LakeError as error:
            refused = {difference.subject: str(error) for difference in batch}
        how = CLASSES[kind].repair or ""
        for difference in batch:
            reason = refused.get(difference.subject)
            yield Mended(difference, reason is None, how if reason is None else f"not mended: {reason}")

    def _act(self, kind: str) -> Callable[[list[Difference]], dict[str, str]] | None:
        """What mends a class: it takes differences, and says of which subjects it could not mend them, and why."""
        if kind in ("unregistered", "changed"):
            return self._register
        if kind == "missing":
            return self._supersede
        if kind == "archive_unrecorded":
            return self._record_moved
        if kind == "not_archived":
            return self._archive
        if kind in FINISHED:
            return self._finish
        return self._plan_again if kind in REPLANNED else None

    def _register(self, batch: list[Difference]) -> dict[str, str]:
        refused = {item.subject: item.detail for item in batch if storable(item.subject) != item.subject}
        keys = [item.subject for item in batch if item.subject not in refused]
        if not self.dry_run:
            there = [listed(self.dataset, item) for item in self.lake.store.heads(keys) if item is not None]
            self.lake.ledger.register(self.dataset.name, there, etag_now=self.lake.store.etag_now)
        return refused

    def _supersede(self, batch: list[Difference]) -> dict[str, str]:
        name, ledger = self.dataset.name, self.lake.ledger
        ids = ledger.unconverted(name, [item.subject for item in batch])
        if not self.dry_run:
            ledger.supersede_deleted(name, list(ids), _DELETED)
        left = [item for item in batch if item.subject not in ids.values()]
        return {item.subject: f"{item.manifest_id} holds it, and the next run says what becomes of it" for item in left}

    def _record_moved(self, batch: list[Difference]) -> dict[str, str]:
        files = [_archivable(version) for version in self._current(batch) if version.archived_key is None]
        moved = moved_before(self.dataset, self.lake.store, files)
        if not self.dry_run:
            self.lake.ledger.record_archived(self.dataset.name, list(moved.items()))
        return {file.key: "it is not there any more" for file in files if file.id not in moved}

    def _archive(self, batch: list[Difference]) -> dict[str, str]:
        """What lies in the archive too goes there once more, the rest as a run moves it."""
        if self.dry_run:
            return {}
        moved = [version for version in self._current(batch) if version.archived_key is not None]
        landed = self.lake.store.heads([version.key for version in moved])
        twice = [version for version, found in zip(moved, landed, strict=True) if found is not None]
        moves = [Move(item.key, item.archived_key or "", item.size, item.etag) for item in twice]
        outcomes = self.lake.store.move_all(moves)
        refused = {move.source: str(error) for move, error in zip(moves, outcomes, strict=True) if error is not None}
        if len(twice) < len(batch):
            self._finish(batch)
        return refused

    def _finish(self, _: list[Difference]) -> dict[str, str]:
        """Once for all: it looks for itself what there is to do."""
        if not (self._finished or self.dry_run):
            finish_interrupted(self.lake, self.dataset)
        self._finished = True
        return {}

    def _plan_again(self, batch: list[Difference]) -> dict[str, str]:
        for manifest_id in sorted({item.manifest_id or "" for item in batch} - self._planned.keys()):
            self._planned[manifest_id] = self._replan(manifest_id)
        return {item.subject: reason for item in batch if (reason := self._planned[item.manifest_id or ""])}

    def _replan(self, manifest_id: str) -> str:
        """Why a manifest cannot be converted again; empty where it was planned."""
        lake, name = self.lake, self.dataset.name
        files = lake.ledger.manifest_files(name, manifest_id)
        if not files:
            return f"the ledger has no files of {manifest_id} any more"
        for some in batched(files, _AT_ONCE):
            for file, there in zip(some, lake.store.heads([file.location for file in some]), strict=True):
                if there is None or not lake.store.is_copy_of(there, file.size, file.etag):
                    state = "is gone" if there is None else "was changed"
                    return f"its raw file {file.key} {state} at {file.location}"
        if not self.dry_run:
            try:
                lake.ledger.requeue(name, manifest=manifest_id)
            except LakeError as error:
                return str(error)
        return ""

    def _current(self, batch: list[Difference]) -> list[KnownVersion]:
        found = self.lake.ledger.versions_of(self.dataset.name, [item.subject for item in batch])
        return [version for version in found if version.is_current]


def _archivable(version: KnownVersion) -> ArchivableFile:
    return ArchivableFile(version.id, version.key, version.etag, version.size, version.status, version.key)
