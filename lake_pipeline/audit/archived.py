"""Raw files that were moved: the archive and the quarantine against what the ledger says of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain

from lake_pipeline.audit.classes import Difference
from lake_pipeline.audit.holders import is_under_way
from lake_pipeline.audit.merging import merged
from lake_pipeline.audit.raw_files import current_versions
from lake_pipeline.audit.scope import Scope
from lake_pipeline.discovery.listing import storable
from lake_pipeline.ledger.audit_models import KnownVersion
from lake_pipeline.store import StoredObject

_VERSIONED = re.compile(r"~[^~/]*\Z")


def judge_archived(
    found: StoredObject | None, known: KnownVersion | None, is_copy: Callable[[StoredObject, int, str], bool]
) -> tuple[str, str] | None:
    """The class and the detail of what does not fit where a file was moved to.

    Of a version that is not current the ledger says where it once was moved; it may be there, and need not.
    """
    if known is None:
        return None if found is None else ("archive_stray", f"{found.size:,} bytes with the ETag {found.etag}")
    if not known.is_current or known.status == "SUPERSEDED":
        return None
    if found is None:
        return "archive_missing", f"it is {known.status}, and nothing lies at {known.archived_key}"
    if not is_copy(found, known.size, known.etag):
        there = f"at {found.key} lie {found.size:,} bytes with the ETag {found.etag}"
        return "archive_changed", f"{there}; it has {known.size:,} with {known.etag}"
    if known.status == "SUCCEEDED" and found.key.startswith("quarantine/"):
        return "not_archived", f"it is SUCCEEDED, and lies at {found.key}"
    return None


def audit_archived(scope: Scope) -> Iterator[Difference]:
    """What does not fit in the archive and among quarantined files, each twice looked at."""
    ledger, is_copy = scope.lake.ledger, scope.lake.store.is_copy_of
    objects = chain.from_iterable(scope.listing.objects(folder) for folder in _folders(scope))
    pairs = merged(objects, ledger.versions_by_place(scope.dataset.name), _place)
    suspects = (
        (location, known)
        for location, found, known in scope.counted("archived files", pairs)
        if judge_archived(found, known, is_copy) is not None
    )
    for batch in scope.suspects(suspects):
        yield from _misplaced(scope, {known.key: location for location, known in batch if known is not None})
        yield from _strays(scope, [location for location, known in batch if known is None])


def _place(version: KnownVersion) -> str:
    return version.archived_key or version.key


def _folders(scope: Scope) -> list[str]:
    """Where raw files are moved to, in order."""
    archive = scope.dataset.archive.prefix
    return sorted([f"quarantine/{scope.dataset.name}/files/", *([archive] if archive is not None else [])])


def _misplaced(scope: Scope, places: dict[str, str]) -> Iterator[Difference]:
    """What is still so of current versions; `places` are where they should lie, by key."""
    name, lake = scope.dataset.name, scope.lake
    before = current_versions(scope, list(places))
    there = dict(zip(places, lake.store.heads(list(places.values())), strict=True))
    after = current_versions(scope, list(places))
    manifests = lake.ledger.manifests_of(name, {known.manifest_id for known in after.values() if known.manifest_id})
    for key, place in places.items():
        known = after.get(key)
        if known is None or known.archived_key != place or known != before.get(key):
            continue
        verdict = judge_archived(there[key], known, lake.store.is_copy_of)
        if verdict is None:
            continue
        kind, detail = verdict
        if kind != "not_archived" or not is_under_way(manifests.get(known.manifest_id or ""), lake.ledger):
            yield Difference(name, kind, key, detail, known.manifest_id)


def _strays(scope: Scope, locations: list[str]) -> Iterator[Difference]:
    """Objects of which the ledger knows no version, as it is now.

    Where it forgets files (`retention.file_records`), it cannot tell a stray from one that it has forgotten.
    """
    if scope.dataset.retention.file_records is not None:
        return
    lake = scope.lake
    candidates = {location: _landed_keys(scope, location) for location in locations}
    there = dict(zip(locations, lake.store.heads(locations), strict=True))
    keys = sorted({key for found in candidates.values() for key in found})
    versions: dict[str, list[KnownVersion]] = {}
    for version in lake.ledger.versions_of(scope.dataset.name, keys):
        versions.setdefault(version.key, []).append(version)
    for location, of_keys in candidates.items():
        found = there[location]
        known = [version for key in of_keys for version in versions.get(key, [])]
        # A version that landed again keeps its old copy, and one that was just moved is not yet recorded there.
        if found is not None and not any(
            version.archived_key == location or lake.store.is_copy_of(found, version.size, version.etag)
            for version in known
        ):
            detail = f"{found.size:,} bytes with the ETag {found.etag}"
            yield Difference(scope.dataset.name, "archive_stray", location, detail)


def _landed_keys(scope: Scope, location: str) -> list[str]:
    """The keys of which this may be an archived version; a second one has its ETag in its name."""
    folder = next(folder for folder in _folders(scope) if location.startswith(folder))
    key = scope.dataset.source.prefix + location.removeprefix(folder)
    return [name for name in {key, _VERSIONED.sub("", key)} if storable(name) == name]
