"""The lake's objects by keys relative to its root, wherever the root is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from lake_pipeline.encryption import Encryption
from lake_pipeline.errors import StoreError
from lake_pipeline.store.directory import Directory
from lake_pipeline.store.objects import Backend, Copy, Move, StoredObject, head_or_none
from lake_pipeline.store.s3 import S3
from lake_pipeline.store.s3_clients import LARGEST_COPY, LONGEST_SILENCE, S3Clients


class Store:
    """A directory, or `s3://bucket[/prefix]`; all but the URL is of S3 alone.

    `largest_copy` is in bytes: what is larger is copied in parts. S3 refuses more than 5 GiB in one request. A request
    that hears nothing for `silence` seconds is made again.

    Raises (every method):
        ObjectMissing: the key holds no object.
        StoreError: anything else the store refused; the message names the key.
    """

    def __init__(
        self,
        url: str,
        encryption: Encryption | None = None,
        *,
        largest_copy: int = LARGEST_COPY,
        silence: float = LONGEST_SILENCE,
    ) -> None:
        self.url = url
        self.root: Path | None = None
        parts = urlsplit(url)
        if parts.scheme == "s3":
            clients = S3Clients(parts.netloc, parts.path.strip("/"), encryption, silence)
            self._objects: Backend = S3(clients, largest_copy)
        else:
            self.root = Path(url)
            self._objects = Directory(self.root)

    def uri(self, key: str) -> str:
        """What a query engine or a person calls the object."""
        return f"{self.url}/{key}"

    def local_path(self, key: str) -> Path | None:
        """Where the key's object is, or is to be, on this machine's disk; None where the store is not.

        Raises:
            StoreError: a symbolic link is on the way, or the key is no path.
        """
        return self._objects.path(key.rstrip("/")) if isinstance(self._objects, Directory) else None

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[list[StoredObject]]:
        """Objects below a folder in key order, 1,000 a page at most; `after` skips keys up to and including it."""
        folder = prefix.rstrip("/")
        return self._objects.list(f"{folder}/" if folder else "", after or "")

    def head(self, key: str) -> StoredObject:
        return self._objects.head(key)

    def heads(self, keys: Sequence[str]) -> Sequence[StoredObject | None]:
        """What the keys hold, many asked at once; None where there is nothing."""
        return self._objects.heads(keys)

    def exists(self, key: str) -> bool:
        return head_or_none(self._objects, key) is not None

    def etag_now(self, key: str) -> str | None:
        """The ETag of what lies under the key; None where nothing does."""
        there = head_or_none(self._objects, key)
        return there.etag if there else None

    def get(self, key: str) -> bytes:
        return self._objects.get(key, None)

    def get_range(self, key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        """`length` bytes from `start` on, fewer at the object's end.

        Raises:
            ObjectChanged: the object has another ETag.
        """
        return self._objects.get_range(key, start, length, etag)

    def head_bytes(self, key: str, length: int) -> bytes:
        """The object's first bytes, `length` at most."""
        found = self.head(key)
        size = min(length, found.size)
        return self.get_range(key, 0, size, etag=found.etag) if size else b""

    def open(self, key: str, found: StoredObject | None = None) -> BinaryIO:
        """The object as a file for reading at any place; only what is read is downloaded. `found` saves a request."""
        return self._objects.open(key, found)

    def lines(self, key: str) -> Iterator[bytes]:
        """The object's lines as they are downloaded, one in memory at a time, without their ends."""
        rest: list[bytes] = []
        for chunk in self._objects.stream(key):
            first, *others = chunk.split(b"\n")
            rest.append(first)
            for line in others:
                yield b"".join(rest)
                rest = [line]
        if last := b"".join(rest):
            yield last

    def get_json(self, key: str) -> Any:
        return json.loads(self.get(key))

    def put(self, key: str, data: bytes) -> StoredObject:
        self._objects.put(key, data)
        return self.head(key)

    def put_new(self, key: str, data: bytes) -> bool:
        """Put an object under a path that holds none; whether it held none. Of many who try at once, one does."""
        return self._objects.put_new(key, data)

    def put_json(self, key: str, document: Any) -> None:
        self._objects.put(key, json.dumps(document, indent=1, sort_keys=True, default=str).encode())

    def upload(self, path: Path, key: str) -> None:
        """Copy a local file into the store, in parts where it is large."""
        self._objects.upload([(path, key)])

    def upload_all(self, files: Sequence[tuple[Path, str]]) -> None:
        """Copy local files into the store, many at once."""
        self._objects.upload(files)

    def fetch(self, key: str, scratch: Path, *, size: int | None = None, etag: str | None = None) -> Path:
        """A local file with the object's bytes: the object itself in a directory store, else a copy in scratch.

        Raises:
            ObjectChanged: the object has another size in bytes or another ETag.
        """
        # A key may be longer than a file's name.
        return self._objects.fetch(key, scratch / hashlib.sha256(key.encode()).hexdigest(), size, etag)

    def publish(self, source: str, target: str) -> None:
        """Give a staged object its final name, replacing what is there; the staged name stays."""
        self._objects.copy([Copy(source, target)])

    def publish_all(self, copies: Sequence[Copy]) -> None:
        """Give staged objects their final names, many at once."""
        self._objects.copy(copies)

    def move(self, source: str, target: str) -> StoredObject:
        """Move an object and return it under its new key; the source goes only after the copy was verified."""
        (error,) = self._objects.move([Move(source, target)])
        if error is not None:
            raise error
        return self.head(target)

    def move_all(self, moves: Sequence[Move]) -> Sequence[StoreError | None]:
        """Move versions, many at once, each as `move` does; why each was not moved, None where it was.

        ObjectMissing says that the source is gone, ObjectChanged that it is another version by now.
        """
        return self._objects.move(moves)

    def is_copy(self, key: str, size: int, etag: str) -> bool:
        """Whether the object is a copy of that version, as far as can be told; see `is_copy_of`."""
        return self.is_copy_of(self.head(key), size, etag)

    def is_copy_of(self, found: StoredObject, size: int, etag: str) -> bool:
        """Copies keep the ETag, save of what was uploaded or copied in parts, or encrypted by KMS: there, the size."""
        if found.size != size or found.etag == etag:
            return found.size == size
        return not self._objects.tells_by_etag(found.key, found.etag, etag)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that is gone already is no error."""
        self._objects.delete(list(keys))

    def delete_prefix(self, prefix: str) -> None:
        """Delete every object under a prefix, which names a whole folder."""
        folder = prefix.rstrip("/")
        self._objects.delete_folder(f"{folder}/" if folder else "")
