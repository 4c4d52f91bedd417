"""Objects in an S3 bucket: requests run side by side, copies stay inside of S3.

Threads wait for the requests, which obstore makes outside of Python. Its coroutines are not used: a process that ends
soon after one may abort (obstore 0.12.1 on Python 3.11: 9 of 30 did).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import obstore

from lake_pipeline.errors import ObjectChanged, StoreError
from lake_pipeline.failpoints import failpoint
from lake_pipeline.store.objects import (
    PAGE,
    Copy,
    Move,
    StoredObject,
    batched,
    create,
    described,
    each,
    head_or_none,
    if_match,
    refuse_other,
    translate,
    translated,
)
from lake_pipeline.store.paths import is_path
from lake_pipeline.store.s3_clients import AT_ONCE, S3Clients
from lake_pipeline.store.s3_file import S3File
from lake_pipeline.store.s3_requests import S3Requests

# Each upload sends several parts at once by itself.
_UPLOADS = 8
# S3 takes 10,000 parts: objects of up to 160 GB.
_PART = 16 * 2**20
_CHUNK = 8 * 2**20


class S3:
    """The objects of a bucket, or of a prefix of it."""

    def __init__(self, clients: S3Clients, largest_copy: int) -> None:
        self._clients = clients
        self._requests = S3Requests(clients, largest_copy)
        self._largest_copy = largest_copy

    def list(self, folder: str, after: str) -> Iterator[list[StoredObject]]:
        # Not by obstore: one key that is no path would end the listing.
        return self._requests.list(folder, after)

    def head(self, key: str) -> StoredObject:
        if not is_path(key):
            return self._requests.head(key)
        with translated(key):
            return described(obstore.head(self._clients.obstore, key))

    def heads(self, keys: Sequence[str]) -> Sequence[StoredObject | None]:
        return each(partial(head_or_none, self), keys, AT_ONCE)

    def get(self, key: str, etag: str | None) -> bytes:
        with translated(key):
            if not is_path(key):
                return bytes(self._requests.get(key, etag).read())
            return bytes(obstore.get(self._clients.obstore, key, options=if_match(etag)).bytes())

    def get_range(self, key: str, start: int, length: int, etag: str | None) -> bytes:
        with translated(key):
            if not is_path(key):
                return bytes(self._requests.get(key, etag, f"bytes={start}-{start + length - 1}").read())
            options = if_match(etag) | {"range": (start, start + length)}
            return bytes(obstore.get(self._clients.obstore, key, options=options).bytes())

    def stream(self, key: str, etag: str | None = None) -> Iterator[bytes]:
        with translated(key):
            if not is_path(key):
                yield from self._requests.get(key, etag).iter_chunks(_CHUNK)
                return
            for chunk in obstore.get(self._clients.obstore, key, options=if_match(etag)).stream(_CHUNK):
                yield bytes(chunk)

    def open(self, key: str, found: StoredObject | None) -> BinaryIO:
        version = found or self.head(key)

        def read_range(start: int, length: int) -> bytes:
            return self.get_range(key, start, length, version.etag)

        return cast(BinaryIO, S3File(read_range, version.size))

    def fetch(self, key: str, target: Path, size: int | None, etag: str | None) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for chunk in self.stream(key, etag):
                file.write(chunk)
            received = file.tell()
        if size not in (None, received):
            target.unlink()
            raise ObjectChanged(f"{key} has {received:,} bytes by now, not {size:,}")
        return target

    def put(self, key: str, data: bytes) -> None:
        if not is_path(key):
            self._requests.put(key, data)
            return
        with translated(key):
            obstore.put(self._clients.obstore, key, data)

    def put_new(self, key: str, data: bytes) -> bool:
        with translated(key):
            return create(self._clients.obstore, key, data)

    def upload(self, files: Sequence[tuple[Path, str]]) -> None:
        def upload(item: tuple[Path, str]) -> None:
            path, key = item
            if not is_path(key):
                self._requests.upload(path, key)
                return
            with translated(key):
                obstore.put(self._clients.obstore, key, path, chunk_size=_PART)

        each(upload, files, _UPLOADS)

    def copy(self, copies: Sequence[Copy]) -> None:
        def copy(item: Copy) -> None:
            size = item.size if item.size is not None else self.head(item.source).size
            if size > self._largest_copy or not (is_path(item.source) and is_path(item.target)):
                self._requests.copy(item.source, item.target, size)
                return
            with translated(item.source):
                obstore.copy(self._clients.obstore, item.source, item.target)

        each(copy, copies, AT_ONCE)

    def move(self, moves: Sequence[Move]) -> Sequence[StoreError | None]:
        outcomes: list[StoreError | None] = []
        for batch in batched(moves, PAGE):
            # Not by obstore, whose copy cannot depend on its source's ETag: whatever came between would be copied.
            copied = each(self._copy_verified, batch, AT_ONCE)
            failpoint("archive.copied")
            # Each goes only while it is the version that was copied: another may have landed meanwhile.
            versions = [(item.source, etag) for item, etag in zip(batch, copied, strict=True) if isinstance(etag, str)]
            refused = self._requests.delete(versions)
            outcomes += [
                refused.get(item.source) if isinstance(etag, str) else etag
                for item, etag in zip(batch, copied, strict=True)
            ]
        return outcomes

    def _copy_verified(self, move: Move) -> str | StoreError:
        """The ETag of the version that was copied, or why there is no copy of it."""
        try:
            size, etag = move.size, move.etag
            if size is None or etag is None:
                found = self.head(move.source)
                refuse_other(found, size, etag)
                size, etag = found.size, found.etag
            if self._requests.copy(move.source, move.target, size, etag) == etag:
                return etag
            # In parts, or under KMS, a copy has an ETag of its own.
            copy = self.head(move.target)
            if copy.size == size and (copy.etag == etag or not self.tells_by_etag(move.target, copy.etag, etag)):
                return etag
            refuse_other(self.head(move.source), size, etag)
            return StoreError(f"the copy of {move.source} at {move.target} differs from it; the source was kept")
        except Exception as error:
            return translate(error, move.source)

    def delete(self, keys: Sequence[str]) -> None:
        for error in self._requests.delete([(key, None) for key in keys]).values():
            raise error

    def delete_folder(self, folder: str) -> None:
        for page in self.list(folder, ""):
            self.delete([item.key for item in page])

    def tells_by_etag(self, key: str, *etags: str) -> bool:
        return not any("-" in etag for etag in etags) and self._requests.is_digest(key)
