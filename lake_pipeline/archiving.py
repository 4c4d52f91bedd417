"""Archive: raw files whose fate is committed leave the source prefix. May be repeated, and killed anywhere."""

from __future__ import annotations

from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import ObjectChanged, ObjectMissing
from lake_pipeline.failpoints import failpoint
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import ArchivableFile
from lake_pipeline.store import Move, Store, StoredObject, batched

# So many are recorded at once: a process that is killed leaves no more to be found out again.
_BATCH = 1000


def archive(dataset: Dataset, store: Store, ledger: Ledger, manifest_id: str | None = None) -> int:
    """Move raw files whose fate is committed, of one manifest or of all, out of the source prefix; the number moved.

    A newer version that has landed under a file's key is not ours to move, and stays.

    Raises:
        StoreError: a file could not be moved; others of its batch were, and are recorded.
    """
    if dataset.archive.action != "move":
        return 0
    moved = 0
    for files in batched(ledger.files_to_archive(dataset.name, manifest_id), _BATCH):
        targets = _targets(dataset, store, files)
        outcomes = store.move_all([_move(file, target) for file, target in zip(files, targets, strict=True)])
        failpoint("archive.moved")
        done = {file.id: target for file, target, error in zip(files, targets, outcomes, strict=True) if error is None}
        gone = [file for file, error in zip(files, outcomes, strict=True) if isinstance(error, ObjectMissing)]
        done |= _moved_before(dataset, store, gone)
        ledger.record_archived(dataset.name, list(done.items()))
        failpoint("archive.archived")
        moved += len(done)
        for error in outcomes:
            if error is not None and not isinstance(error, (ObjectMissing, ObjectChanged)):
                raise error
    return moved + _archive_again(dataset, store, ledger)


def _archive_again(dataset: Dataset, store: Store, ledger: Ledger) -> int:
    """Move files that landed again, the same bytes under the same key, over the copies of them that were moved before.

    So a copy that was lost is there again. One that holds anything else by now, such as a mended file, stays as it is.
    """
    moved = 0
    for files in batched(ledger.relanded_files(dataset.name), _BATCH):
        held = zip(files, store.heads([file.location for file in files]), strict=True)
        same = [file for file, there in held if there is None or store.is_copy_of(there, file.size, file.etag)]
        outcomes = store.move_all([Move(file.key, file.location, file.size, file.etag) for file in same])
        # Where another version lies there, or nothing does, it was seen before it was moved away.
        done = [
            file
            for file, error in zip(same, outcomes, strict=True)
            if error is None or isinstance(error, (ObjectMissing, ObjectChanged))
        ]
        ledger.record_archived(dataset.name, [(file.id, file.location) for file in done])
        moved += sum(error is None for error in outcomes)
        for error in outcomes:
            if error is not None and not isinstance(error, (ObjectMissing, ObjectChanged)):
                raise error
    return moved


def _targets(dataset: Dataset, store: Store, files: list[ArchivableFile]) -> list[str]:
    """Where each file goes: to a name that holds nothing or this version, for an older version must stay."""
    found = store.heads([_archive_key(dataset, file) for file in files])
    return [
        _archive_key(dataset, file) if there is None or _is(there, file) else _versioned_key(dataset, file)
        for file, there in zip(files, found, strict=True)
    ]


def _is(there: StoredObject, file: ArchivableFile) -> bool:
    return (there.size, there.etag) == (file.size, file.etag)


def _move(file: ArchivableFile, target: str) -> Move:
    # A copy that lies elsewhere may have an ETag of its own.
    return Move(file.location, target, file.size, file.etag if file.location == file.key else None)


def _moved_before(dataset: Dataset, store: Store, files: list[ArchivableFile]) -> dict[int, str]:
    """Files that a process moved that was killed before it said so, by id; of the others there is no copy."""
    done: dict[int, str] = {}
    for key_of in (_archive_key, _versioned_key):
        keys = [key_of(dataset, file) for file in files]
        for file, there in zip(files, store.heads(keys), strict=True):
            if there is not None and store.is_copy_of(there, file.size, file.etag):
                done[file.id] = there.key
    return done


def _archive_key(dataset: Dataset, file: ArchivableFile) -> str:
    relative = file.key.removeprefix(dataset.source.prefix)
    if file.status == "QUARANTINED":
        return f"quarantine/{dataset.name}/files/{relative}"
    return f"{dataset.archive.prefix}{relative}"


def _versioned_key(dataset: Dataset, file: ArchivableFile) -> str:
    return f"{_archive_key(dataset, file)}~{file.etag}"
