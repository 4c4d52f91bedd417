"""Archive: raw files whose fate is committed leave the source prefix. May be repeated, and killed anywhere."""

from __future__ import annotations

from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import ObjectChanged, ObjectMissing, StoreError
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
    moved = 0
    if dataset.archive.action == "move":
        moved = _move_away(dataset, store, ledger, manifest_id) + _archive_again(dataset, store, ledger)
    ledger.settle(dataset.name, manifest_id, keep=dataset.archive.action != "move")
    return moved


def _move_away(dataset: Dataset, store: Store, ledger: Ledger, manifest_id: str | None) -> int:
    moved = 0
    for files in batched(ledger.files_to_archive(dataset.name, manifest_id), _BATCH):
        targets = _targets(dataset, store, files)
        outcomes = store.move_all([_move(file, target) for file, target in zip(files, targets, strict=True)])
        failpoint("archive.moved")
        done = {file.id: target for file, target, error in zip(files, targets, outcomes, strict=True) if error is None}
        gone = [file for file, error in zip(files, outcomes, strict=True) if isinstance(error, ObjectMissing)]
        done |= moved_before(dataset, store, gone)
        ledger.record_archived(dataset.name, list(done.items()))
        failpoint("archive.archived")
        moved += len(done)
        for error in outcomes:
            if error is not None and not isinstance(error, (ObjectMissing, ObjectChanged)):
                raise error
    return moved


def _archive_again(dataset: Dataset, store: Store, ledger: Ledger) -> int:
    """Move files that landed again, the same bytes under the same key, over the copies of them that were moved before.

    So a copy that was lost is there again. One that holds anything else by now, such as a mended file, stays as it is.
    """
    moved = 0
    for files in batched(ledger.relanded_files(dataset.name), _BATCH):
        held = zip(files, store.heads([file.location for file in files]), strict=True)
        same = [file for file, there in held if there is None or store.is_copy_of(there, file.size, file.etag)]
        outcomes = store.move_all([Move(file.key, file.location, file.size, file.etag) for file in same])
        failpoint("archive.moved")
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
    """Where each file goes: to a name that holds nothing or this version, for whatever else lies there must stay.

    Raises:
        StoreError: every name that a file could have is another's.
    """
    names = [_archive_key(dataset, file) for file in files]
    held = dict(zip(names, store.heads(names), strict=True))
    contested = [
        file for file, name in zip(files, names, strict=True) if (there := held[name]) and not _is(there, file)
    ]
    # A raw file may be spelled like an older version of another.
    others = [key_of(dataset, file) for file in contested for key_of in _OTHER_KEYS]
    held |= dict(zip(others, store.heads(others), strict=True))
    targets: dict[str, None] = {}
    for file in files:
        for key_of in (_archive_key, *_OTHER_KEYS):
            name = key_of(dataset, file)
            if name in targets:
                continue
            there = held[name] if name in held else store.heads([name])[0]
            copied = there and key_of is not _archive_key and store.is_copy_of(there, file.size, file.etag)
            if there is None or _is(there, file) or copied:
                targets[name] = None
                break
        else:
            raise StoreError(f"{file.key}: every name that it could have in the archive is another file's")
    return list(targets)


def _is(there: StoredObject, file: ArchivableFile) -> bool:
    return (there.size, there.etag) == (file.size, file.etag)


def _move(file: ArchivableFile, target: str) -> Move:
    # A copy that lies elsewhere may have an ETag of its own.
    return Move(file.location, target, file.size, file.etag if file.location == file.key else None)


def moved_before(dataset: Dataset, store: Store, files: list[ArchivableFile]) -> dict[int, str]:
    """Files that a process moved that was killed before it said so, by id; of the others there is no copy."""
    done: dict[int, str] = {}
    for key_of in (_archive_key, *_OTHER_KEYS):
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


def _numbered_key(dataset: Dataset, file: ArchivableFile) -> str:
    return f"{_versioned_key(dataset, file)}~{file.id}"


# Where the first name is another version's, or another file's that is spelled alike.
_OTHER_KEYS = (_versioned_key, _numbered_key)
