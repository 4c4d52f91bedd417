"""Curated files: what lies below the output prefix against the commits of the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from lake_pipeline.audit.classes import Difference
from lake_pipeline.audit.holders import is_under_way
from lake_pipeline.audit.merging import merged
from lake_pipeline.audit.scope import Scope
from lake_pipeline.discovery.listing import storable
from lake_pipeline.errors import ObjectChanged, ObjectMissing
from lake_pipeline.ledger.audit_models import KnownOutput
from lake_pipeline.published import rows_in
from lake_pipeline.store import Store, StoredObject, batched

_AT_ONCE = 16
_OPENED = 256


def judge_output(found: StoredObject | None, known: KnownOutput | None) -> tuple[str, str] | None:
    """The class and the detail of what does not fit of a curated file, without a look into it; pure."""
    if known is None:
        return None if found is None else ("output_stray", f"{found.size:,} bytes")
    if not known.committed:
        return "output_left", f"attempt {known.attempt} meant to publish it"
    if known.staged_path is not None:
        return "output_unreleased", f"its content lies at {known.staged_path}"
    if found is None:
        return "output_missing", f"{known.rows:,} rows"
    if found.size != known.bytes:
        return "output_changed", f"it has {found.size:,} bytes, and {known.bytes:,} were committed"
    return None


def audit_outputs(scope: Scope) -> Iterator[Difference]:
    """What does not fit below the output prefix, each twice looked at."""
    ledger, name = scope.lake.ledger, scope.dataset.name
    pairs = merged(scope.listing.objects(scope.dataset.output.stem), ledger.known_outputs(name), _path)
    for batch in scope.suspects(_suspects(scope, scope.counted("curated files", pairs))):
        yield from _look_again(scope, batch)


def _path(output: KnownOutput) -> str:
    return output.path


def _suspects(scope: Scope, pairs: Iterator[tuple[str, StoredObject | None, KnownOutput | None]]) -> Iterator[str]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for batch in batched(pairs, _OPENED):
            sound = [row for _, found, row in batch if row is not None and judge_output(found, row) is None]
            wrong = zip(sound, pool.map(lambda row: _wrong_rows(scope, row), sound), strict=True)
            bad = {row.path for row, verdict in wrong if verdict is not None}
            yield from (key for key, found, row in batch if key in bad or judge_output(found, row) is not None)


def _wrong_rows(scope: Scope, known: KnownOutput) -> tuple[str, str] | None:
    """What a Parquet file's footer, or the lines of another file, say against the ledger."""
    if scope.quick and not known.path.endswith(".parquet"):
        return None
    rows = _count(scope.lake.store, known.path)
    if isinstance(rows, str):
        return "output_changed", f"it cannot be read: {rows}"
    return ("output_rows", f"it has {rows:,} rows, and {known.rows:,} were committed") if rows != known.rows else None


def _count(store: Store, path: str) -> int | str:
    """Rows, or why they cannot be counted; that the store fails says nothing of the file, and is raised."""
    try:
        return rows_in(store, path)
    except (ObjectMissing, ObjectChanged, OSError, pa.ArrowException) as error:
        return str(error)


def _look_again(scope: Scope, paths: list[str]) -> Iterator[Difference]:
    name, lake = scope.dataset.name, scope.lake
    held = [path for path in paths if storable(path) == path]
    before = lake.ledger.outputs_of(name, held)
    there = dict(zip(paths, lake.store.heads(paths), strict=True))
    verdicts = {}
    for path in paths:
        known = before.get(path)
        verdict = judge_output(there[path], known)
        if verdict is None and known is not None:
            verdict = _wrong_rows(scope, known)
        if verdict is not None:
            verdicts[path] = verdict
    after = lake.ledger.outputs_of(name, held)
    manifests = lake.ledger.manifests_of(name, {output.manifest_id for output in after.values()})
    for path, verdict in verdicts.items():
        known = after.get(path)
        if known != before.get(path):
            continue  # somebody is at it
        kind, detail = verdict
        if (
            kind in ("output_left", "output_unreleased")
            and known
            and is_under_way(manifests.get(known.manifest_id), lake.ledger)
        ):
            continue
        yield Difference(name, kind, path, detail, known.manifest_id if known else None)
