"""Raw files at hand: the versions that the manifest names, as local files, and what became of the others."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lake_pipeline.errors import ObjectChanged, ObjectMissing, StoreError
from lake_pipeline.kernel.results import FileResult
from lake_pipeline.kernel.source import CHUNK_BYTES, RawFile, Span
from lake_pipeline.manifests import ManifestFile
from lake_pipeline.store import TRIED, Store, each

# Enough requests at once to hide S3's latency.
_CONCURRENCY = 16


def fetch(
    files: Iterable[ManifestFile], store: Store, scratch: Path, span: Span | None = None
) -> tuple[list[RawFile], list[FileResult]]:
    """The files at hand, or the span of the only one; and the outcome of those that are gone or were changed."""

    def at_hand(file: ManifestFile) -> RawFile | FileResult:
        try:
            if span and not store.root:
                return RawFile(file.id, file.key, _fetch_span(file, store, scratch, span), span, alone=True)
            local = store.fetch(file.location, scratch, size=file.size, etag=_etag(file))
            return RawFile(file.id, file.key, local, span)
        except StoreError as error:
            return FileResult(file.id, file.key, "FAILED", error_class=type(error).__name__, error_message=str(error))

    outcomes = each(at_hand, list(files), _CONCURRENCY, tried=TRIED if store.root else 0)
    raw = [outcome for outcome in outcomes if isinstance(outcome, RawFile)]
    return raw, [outcome for outcome in outcomes if isinstance(outcome, FileResult)]


def _etag(file: ManifestFile) -> str | None:
    """What the file is held to: a copy in the archive may have an ETag of its own."""
    return file.etag if file.location == file.key else None


def _fetch_span(file: ManifestFile, store: Store, scratch: Path, span: Span) -> Path:
    target = scratch / f"{file.id}-{span.start}"
    _check_version(file, store)
    with target.open("wb") as copy:
        for start in range(span.start, span.end, CHUNK_BYTES):
            length = min(CHUNK_BYTES, span.end - start)
            copy.write(store.get_range(file.location, start, length, etag=_etag(file)))
    return target


def _check_version(file: ManifestFile, store: Store) -> None:
    now = store.head(file.location)
    if now.size != file.size or _etag(file) not in (None, now.etag):
        raise ObjectChanged(f"{file.location} was {file.size:,} bytes with ETag {file.etag} when it was listed")


def check_unchanged(files: Iterable[ManifestFile], store: Store) -> None:
    """The files that were read must have been those versions to the end.

    Raises:
        ObjectChanged: one was changed meanwhile.
    """
    if store.root is None:
        return  # what was read is a copy of its own
    for file in files:
        with suppress(ObjectMissing):  # it was read whole before it went
            _check_version(file, store)
