"""Rows by raw file, counted in the curated files: one that is lost shows, though another is there twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa

from lake_pipeline.audit.classes import Difference
from lake_pipeline.audit.scope import Scope
from lake_pipeline.errors import ObjectChanged, ObjectMissing, PublishedUnreadable
from lake_pipeline.published import open_parquet, rows_by_raw_file


def audit_rows(scope: Scope, damaged: set[str]) -> Iterator[Difference]:
    """Raw files whose rows are not those of the commit, manifest by manifest, each twice looked at.

    Of `damaged` manifests it is known already that they have to be converted again.
    """
    ledger, name = scope.lake.ledger, scope.dataset.name
    for manifest_id, attempt in scope.counted("manifests", ledger.manifests_with_rows(name)):
        if manifest_id in damaged or not (found := set(_look(scope, manifest_id))):
            continue
        time.sleep(scope.settle_seconds)
        still = found.intersection(_look(scope, manifest_id))
        row = ledger.manifest(name, manifest_id)
        if row.state != "RUNNING" and row.attempt == attempt:
            yield from sorted(still, key=lambda difference: (difference.kind, difference.subject))


def _look(scope: Scope, manifest_id: str) -> Iterator[Difference]:
    ledger, name = scope.lake.ledger, scope.dataset.name
    expected = ledger.rows_by_file(name, manifest_id)
    if not expected:
        return  # what the rows came from was pruned
    outputs = ledger.rows_by_output(name, manifest_id)
    if scope.dataset.output.format == "parquet":
        paths = [path for path, _, _ in outputs]
        try:
            actual = rows_by_raw_file(scope.lake.store, paths)
        except PublishedUnreadable:
            if not (broken := list(_unreadable(scope, manifest_id, paths))):
                raise  # the store failed, which says nothing of the files
            yield from broken
            return
    else:
        # That each file has so many lines was seen before.
        actual = Counter({key: rows for _, rows, key in outputs if key is not None})
    for key in expected.keys() | actual.keys():
        if (committed := expected.get(key, 0)) != (rows := actual[key]):
            detail = f"{rows:,} rows are in the curated files of {manifest_id}, and {committed:,} were committed"
            # Rows of no raw file at all have no key.
            yield Difference(name, "file_rows", key or "", detail, manifest_id)


def _unreadable(scope: Scope, manifest_id: str, paths: list[str]) -> Iterator[Difference]:
    """Those of the files whose footer was read, and whose rows cannot be; read by Arrow, which tells errors apart."""
    for path in paths:
        try:
            with open_parquet(scope.lake.store, path) as file:
                for _ in file.iter_batches(columns=["_source_file"]):
                    pass
        except (ObjectMissing, ObjectChanged, OSError, pa.ArrowException) as error:
            detail = f"it cannot be read: {error}"
            yield Difference(scope.dataset.name, "output_changed", path, detail, manifest_id)
