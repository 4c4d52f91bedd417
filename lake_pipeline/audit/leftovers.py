"""What attempts leave behind: staging folders, and documents of records that were set aside."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from lake_pipeline.audit.classes import Difference
from lake_pipeline.audit.holders import is_under_way
from lake_pipeline.audit.merging import merged
from lake_pipeline.audit.scope import Scope
from lake_pipeline.engines.task import STAGING
from lake_pipeline.errors import ObjectMissing
from lake_pipeline.quarantine import document_of
from lake_pipeline.staging import is_abandoned


def audit_staging(scope: Scope) -> Iterator[Difference]:
    """Folders of attempts that are over, or that never were."""
    folder, name, ledger = f"{STAGING}{scope.dataset.name}/", scope.dataset.name, scope.lake.ledger
    # Not by a report: what is staged is gone within the hour.
    objects = (item.key.removeprefix(folder) for page in scope.lake.store.list(folder) for item in page)
    attempts = (parts for parts, _ in groupby(scope.counted("staged files", objects), lambda key: key.split("/")[:2]))
    for batch in scope.suspects(parts for parts in attempts if not _is_at_work(scope, parts)):
        known = ledger.manifests_of(name, {manifest_id for manifest_id, *_ in batch})
        for manifest_id, *rest in batch:
            place = folder + "/".join([manifest_id, *rest])
            manifest = known.get(manifest_id)
            if not any(scope.lake.store.list(place)) and not scope.lake.store.exists(place):
                continue
            if manifest is None or not rest or not rest[0].isdecimal():
                yield Difference(name, "staging_stray", place, "the ledger has no such manifest and attempt")
            elif is_abandoned(ledger, manifest, int(rest[0])) and not is_under_way(manifest, ledger):
                detail = f"{manifest_id} is {manifest.state}, attempt {manifest.attempt}"
                yield Difference(name, "staging_left", place, detail, manifest_id)


def _is_at_work(scope: Scope, parts: list[str]) -> bool:
    """At first sight, so that what is being staged is not waited for."""
    found = scope.lake.ledger.manifests_of(scope.dataset.name, {parts[0]})
    return is_under_way(found.get(parts[0]), scope.lake.ledger)


def audit_records(scope: Scope) -> Iterator[Difference]:
    """Documents of set-aside records against the commits that list them."""
    folder, ledger = f"quarantine/{scope.dataset.name}/records/", scope.lake.ledger
    listed = sorted((key, manifest_id) for manifest_id, key, _ in ledger.records_aside(scope.dataset.name))
    objects = scope.counted("documents of set-aside records", scope.listing.objects(folder))
    suspects = (
        (key, found, known and known[1])
        for key, found, known in merged(objects, listed, lambda row: row[0])
        if found is None or known is None or (not scope.quick and _wrong_records(scope, key, known[1]))
    )
    for batch in scope.suspects(suspects):
        for key, _, manifest_id in batch:
            yield from _look_again(scope, folder, key, manifest_id)


def _look_again(scope: Scope, folder: str, key: str, manifest_id: str | None) -> Iterator[Difference]:
    name, lake = scope.dataset.name, scope.lake
    document = document_of(folder, key)
    manifest_id = manifest_id or (document[1] if document else None)
    manifest = lake.ledger.manifests_of(name, {manifest_id}).get(manifest_id) if manifest_id else None
    found = lake.store.exists(key)
    if manifest is not None and manifest.quarantined_records == key:
        if not found:
            yield Difference(name, "records_missing", key, f"{manifest_id} lists it", manifest_id)
        elif not scope.quick and (wrong := _wrong_records(scope, key, manifest.manifest_id)):
            yield Difference(name, "records_changed", key, wrong, manifest_id)
    elif not found:
        return
    elif document is None or manifest is None:
        yield Difference(name, "records_stray", key, "the ledger has no such manifest and attempt")
    elif lake.ledger.leftover_records(name, [document]) and not is_under_way(manifest, lake.ledger):
        yield Difference(name, "records_left", key, f"{manifest_id} does not list it", manifest_id)


def _wrong_records(scope: Scope, key: str, manifest_id: str) -> str:
    """How many records a document has, where that is not how many its commit set aside."""
    committed = (scope.lake.ledger.manifest(scope.dataset.name, manifest_id).metrics or {}).get("rows_quarantined")
    try:
        records = sum(1 for _ in scope.lake.store.lines(key))
    except ObjectMissing:
        return ""
    return "" if committed in (None, records) else f"it has {records:,} records, and {committed:,} were committed"
