"""Raw files where they landed: what the store holds against what the ledger knows."""

from __future__ import annotations

from collections.abc import Iterator

from lake_pipeline.archiving import moved_before
from lake_pipeline.audit.classes import Difference
from lake_pipeline.audit.holders import is_under_way
from lake_pipeline.audit.merging import merged
from lake_pipeline.audit.scope import Scope
from lake_pipeline.discovery.listing import storable
from lake_pipeline.ledger.audit_models import KnownVersion
from lake_pipeline.ledger.models import ArchivableFile
from lake_pipeline.store import StoredObject

# What the pass over a worker's commit is still to do.
_TRANSIENT = ("not_archived", "archive_unrecorded")


def judge_landed(found: StoredObject | None, known: KnownVersion | None, *, moves: bool) -> tuple[str, str] | None:
    """The class and the detail of what does not fit where a file landed; pure.

    `known` is the current version of the key, `moves` whether files that are done with are moved to an archive.
    """
    if known is None or known.status == "SUPERSEDED":
        return None if found is None else ("unregistered", f"{found.size:,} bytes with the ETag {found.etag}")
    if found is None:
        if known.archived_key is not None:
            return None  # it is looked for there
        if known.status in ("SUCCEEDED", "QUARANTINED"):
            return "archive_missing", f"it is {known.status}, and nothing lies where it landed"
        return "missing", f"it is {known.status}"
    if (found.size, found.etag) != (known.size, known.etag):
        return "changed", f"the ETag is {found.etag}, and the ledger knows {known.etag}, {known.status}"
    if known.archived_key is not None:
        return "not_archived", f"the same version lies at {known.archived_key} already"
    if moves and known.status in ("SUCCEEDED", "QUARANTINED"):
        return "not_archived", f"it is {known.status}"
    return None


def audit_landed(scope: Scope) -> Iterator[Difference]:
    """What does not fit below the source prefix, each twice looked at."""
    dataset, lake = scope.dataset, scope.lake
    moves = dataset.archive.action == "move"
    objects = (item for item in scope.listing.objects(dataset.source.prefix) if not _is_folder(item))
    pairs = merged(objects, lake.ledger.known_versions(dataset.name), _key)
    suspects = (
        key
        for key, found, known in scope.counted("raw files", pairs)
        if judge_landed(found, known, moves=moves) is not None
    )
    for batch in scope.suspects(suspects):
        # What Postgres cannot hold is no key of a version, and may not be asked for.
        yield from (_unstorable(scope, key) for key in batch if storable(key) != key)
        yield from _look_again(scope, [key for key in batch if storable(key) == key], moves)


def _key(version: KnownVersion) -> str:
    return version.key


def _look_again(scope: Scope, keys: list[str], moves: bool) -> Iterator[Difference]:
    name, lake = scope.dataset.name, scope.lake
    before = current_versions(scope, keys)
    there = dict(zip(keys, lake.store.heads(keys), strict=True))
    moved = _moved(scope, [known for key, known in before.items() if there[key] is None and moves])
    after = current_versions(scope, keys)
    manifests = lake.ledger.manifests_of(name, {known.manifest_id for known in after.values() if known.manifest_id})
    for key in keys:
        known, found = after.get(key), there[key]
        verdict = judge_landed(found, known, moves=moves)
        if verdict is None or known != before.get(key) or _landed_meanwhile(scope, found):
            continue
        if known is not None and known.id in moved:
            verdict = "archive_unrecorded", f"it lies at {moved[known.id]}"
        manifest_id = known.manifest_id if known else None
        if verdict[0] in _TRANSIENT and is_under_way(manifests.get(manifest_id or ""), lake.ledger):
            continue
        yield Difference(name, verdict[0], key, verdict[1], manifest_id)


def current_versions(scope: Scope, keys: list[str]) -> dict[str, KnownVersion]:
    """The current version of each of these keys that the ledger knows."""
    found = scope.lake.ledger.versions_of(scope.dataset.name, keys)
    return {version.key: version for version in found if version.is_current}


def _moved(scope: Scope, gone: list[KnownVersion]) -> dict[int, str]:
    """Where those of the versions lie that were moved and are not recorded as that, by id."""
    files = [
        ArchivableFile(item.id, item.key, item.etag, item.size, item.status, item.key)
        for item in gone
        if item.archived_key is None and item.status != "SUPERSEDED"
    ]
    return moved_before(scope.dataset, scope.lake.store, files)


def _landed_meanwhile(scope: Scope, found: StoredObject | None) -> bool:
    return found is not None and scope.began <= found.last_modified <= scope.lake.ledger.now()


def _is_folder(item: StoredObject) -> bool:
    return item.key.endswith("/") and item.size == 0


def _unstorable(scope: Scope, key: str) -> Difference:
    return Difference(scope.dataset.name, "unregistered", key, "Postgres cannot hold its key: give it another")
