"""Objects in an S3 bucket: requests run side by side on one event loop, copies stay inside of S3."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import obstore

from lake_pipeline.errors import ObjectChanged, ObjectMissing, StoreError
from lake_pipeline.store.objects import (
    PAGE,
    Copy,
    Move,
    StoredObject,
    batched,
    described,
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
_T = TypeVar("_T")
_R = TypeVar("_R")


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
        async def head(key: str) -> StoredObject | None:
            with suppress(ObjectMissing):
                return await self._head(key)
            return None

        return _each(head, keys, AT_ONCE)

    async def _head(self, key: str) -> StoredObject:
        if not is_path(key):
            return await asyncio.to_thread(self._requests.head, key)
        with translated(key):
            return described(await obstore.head_async(self._clients.obstore, key))

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

    def upload(self, files: Sequence[tuple[Path, str]]) -> None:
        async def upload(item: tuple[Path, str]) -> None:
            path, key = item
            if not is_path(key):
                await asyncio.to_thread(self._requests.upload, path, key)
                return
            with translated(key):
                await obstore.put_async(self._clients.obstore, key, path, chunk_size=_PART)

        _each(upload, files, _UPLOADS)

    def copy(self, copies: Sequence[Copy]) -> None:
        async def copy(item: Copy) -> None:
            size = item.size if item.size is not None else (await self._head(item.source)).size
            await self._copy(item.source, item.target, size)

        _each(copy, copies, AT_ONCE)

    async def _copy(self, source: str, target: str, size: int) -> None:
        if size > self._largest_copy or not (is_path(source) and is_path(target)):
            await asyncio.to_thread(self._requests.copy, source, target, size)
            return
        with translated(source):
            await obstore.copy_async(self._clients.obstore, source, target)

    def move(self, moves: Sequence[Move]) -> Sequence[StoreError | None]:
        outcomes: list[StoreError | None] = []
        # Not by obstore, which cannot make a copy depend on its source's ETag: whatever came between would be copied.
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for batch in batched(moves, PAGE):
                copied = list(pool.map(self._copy_verified, batch))
                # Each goes only while it is the version that was copied: another may have landed meanwhile.
                versions = [
                    (item.source, etag) for item, etag in zip(batch, copied, strict=True) if isinstance(etag, str)
                ]
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


def _each(act: Callable[[_T], Awaitable[_R]], items: Sequence[_T], at_once: int) -> list[_R]:
    """The outcomes of acts that run side by side, so many at once; the first error ends them all."""

    async def all_of_them() -> list[_R]:
        turns = asyncio.Semaphore(at_once)

        async def one(item: _T) -> _R:
            async with turns:
                return await act(item)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
        return [task.result() for task in tasks]

    try:
        return asyncio.run(all_of_them())
    except ExceptionGroup as errors:
        first = errors.exceptions[0]
        raise first from first.__cause__
