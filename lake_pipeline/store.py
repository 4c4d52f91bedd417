"""The object store: a directory or an S3 bucket behind one interface (obstore)."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.store import LocalStore, ObjectStore, S3Store

from lake_pipeline.errors import ObjectMissing, StoreError


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while page := list(islice(iterator, size)):
        yield page


@dataclass(frozen=True)
class StoredObject:
    """One object version: its key below the store's root, its size in bytes and its ETag without quotes."""

    key: str
    size: int
    etag: str
    last_modified: datetime


class Store:
    """The lake's objects, by keys relative to its root.

    Raises (every method):
        ObjectMissing: the key holds no object.
        StoreError: anything else the store refused; the message names the key.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.root: Path | None = None
        if urlsplit(url).scheme == "s3":
            self._store: ObjectStore = S3Store.from_url(url)
        else:
            self.root = Path(url)
            try:
                self._store = LocalStore(self.root, mkdir=True, automatic_cleanup=True)
            except Exception as error:
                raise self._translate(error, url) from error

    def uri(self, key: str) -> str:
        """What a query engine or a person calls the object."""
        return f"{self.url}/{key}"

    def list(self, prefix: str, *, after: str | None = None) -> Iterator[list[StoredObject]]:
        """Objects under a prefix in key order, 1,000 a page at most; `after` skips keys up to and including it."""
        try:
            if self.root is not None:
                yield from batched(self._walk(prefix.rstrip("/"), after or ""), 1000)
                return
            for page in obstore.list(self._store, prefix.rstrip("/") or None, offset=after, chunk_size=1000):
                yield [self._object(meta) for meta in page]
        except Exception as error:
            raise self._translate(error, prefix) from error

    def _walk(self, prefix: str, after: str) -> Iterator[StoredObject]:
        # A directory lists in no order, and only key order can be resumed: sort one folder at a time.
        here = obstore.list_with_delimiter(self._store, prefix or None)
        entries: list[tuple[str, StoredObject | None]] = [(f"{folder}/", None) for folder in here["common_prefixes"]]
        entries += [(meta["path"], self._object(meta)) for meta in here["objects"]]
        for key, stored in sorted(entries, key=lambda entry: entry[0]):
            if stored is None:
                if key > after or after.startswith(key):
                    yield from self._walk(key.rstrip("/"), after)
            elif key > after:
                yield stored

    def head(self, key: str) -> StoredObject:
        try:
            return self._object(obstore.head(self._store, key))
        except Exception as error:
            raise self._translate(error, key) from error

    def exists(self, key: str) -> bool:
        try:
            self.head(key)
        except ObjectMissing:
            return False
        return True

    def get(self, key: str) -> bytes:
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except Exception as error:
            raise self._translate(error, key) from error

    def head_bytes(self, key: str, length: int) -> bytes:
        """The object's first bytes, `length` at most."""
        size = min(length, self.head(key).size)
        try:
            return bytes(obstore.get_range(self._store, key, start=0, length=size)) if size else b""
        except Exception as error:
            raise self._translate(error, key) from error

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """The object's bytes from `start` on, `length` of them, which it must have."""
        try:
            return bytes(obstore.get_range(self._store, key, start=start, length=length))
        except Exception as error:
            raise self._translate(error, key) from error

    def lines(self, key: str) -> Iterator[bytes]:
        """The object's lines as they are downloaded, one in memory at a time, without their ends."""
        rest: list[bytes] = []
        try:
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=2**20):
                first, *others = bytes(chunk).split(b"\n")
                rest.append(first)
                for line in others:
                    yield b"".join(rest)
                    rest = [line]
        except Exception as error:
            raise self._translate(error, key) from error
        if last := b"".join(rest):
            yield last

    def get_json(self, key: str) -> Any:
        return json.loads(self.get(key))

    def put(self, key: str, data: bytes) -> StoredObject:
        try:
            obstore.put(self._store, key, data)
        except Exception as error:
            raise self._translate(error, key) from error
        return self.head(key)

    def put_json(self, key: str, document: Any) -> None:
        self.put(key, json.dumps(document, indent=1, sort_keys=True, default=str).encode())

    def upload(self, path: Path, key: str) -> None:
        """Copy a local file into the store, in parts where it is large."""
        try:
            with path.open("rb") as file:
                obstore.put(self._store, key, file)
        except Exception as error:
            raise self._translate(error, key) from error

    def fetch(self, key: str, scratch: Path) -> Path:
        """A local file with the object's bytes: the object itself in a directory store, else a copy in scratch."""
        if self.root is not None:
            path = self.root / key
            if not path.is_file():
                raise ObjectMissing(key)
            return path
        target = scratch / f"{abs(hash(key)):x}-{Path(key).name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("wb") as file:
                for chunk in obstore.get(self._store, key).stream(min_chunk_size=8 * 2**20):
                    file.write(chunk)
        except Exception as error:
            raise self._translate(error, key) from error
        return target

    def publish(self, source: str, target: str) -> None:
        """Give a staged object its final name, replacing what is there; the staged name stays."""
        try:
            if self.root is not None:
                self._link(self.root / source, self.root / target)
            else:
                obstore.copy(self._store, source, target)
        except Exception as error:
            raise self._translate(error, source) from error

    def move(self, source: str, target: str) -> StoredObject:
        """Move an object and return it under its new key; the source goes only after the copy was verified."""
        try:
            if self.root is not None:
                (self.root / target).parent.mkdir(parents=True, exist_ok=True)
                (self.root / source).replace(self.root / target)
                return self.head(target)
            before = self.head(source)
            obstore.copy(self._store, source, target)
            if not self.is_copy(target, before.size, before.etag):
                raise StoreError(f"the copy of {source} at {target} differs from it; the source was kept")
            obstore.delete(self._store, source)
            return self.head(target)
        except StoreError:
            raise
        except Exception as error:
            raise self._translate(error, source) from error

    def is_copy(self, key: str, size: int, etag: str) -> bool:
        """Whether the object is a copy of that version: moves keep the ETag, save of what was uploaded in parts."""
        found = self.head(key)
        return found.size == size and (("-" in etag and self.root is None) or found.etag == etag)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that is gone already is no error."""
        batch = list(keys)
        if not batch:
            return
        if self.root is not None:
            batch = [key for key in batch if (self.root / key).exists()]
        try:
            if batch:
                obstore.delete(self._store, batch)
        except Exception as error:
            raise self._translate(error, batch[0]) from error

    def delete_prefix(self, prefix: str) -> None:
        """Delete every object under a prefix, which names a whole folder."""
        if self.root is not None:
            folder = self.root / prefix
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # a folder above it that still holds something stays
                for above in folder.parents[: len(Path(prefix).parts) - 1]:
                    above.rmdir()
            return
        for page in self.list(prefix):
            self.delete(item.key for item in page)

    @staticmethod
    def _link(source: Path, target: Path) -> None:
        # A staged file never changes again, so a second name for it is as good as a copy.
        target.parent.mkdir(parents=True, exist_ok=True)
        # The name on the way is in staging, where a killed process's leftovers are cleared.
        temporary = source.with_name(f".{source.name}.{os.getpid()}.{threading.get_ident()}")
        temporary.unlink(missing_ok=True)
        os.link(source, temporary)
        temporary.replace(target)
        temporary.unlink(missing_ok=True)  # replace() keeps both names where they are one inode

    @staticmethod
    def _object(meta: Any) -> StoredObject:
        return StoredObject(meta["path"], meta["size"], (meta["e_tag"] or "").strip('"'), meta["last_modified"])

    @staticmethod
    def _translate(error: Exception, key: str) -> StoreError:
        if isinstance(error, StoreError):
            return error
        if isinstance(error, FileNotFoundError) or type(error).__name__ == "NotFoundError":
            return ObjectMissing(key)
        reason = str(error).split("\n\nDebug source:")[0]  # which repeats the message as Rust sees it
        return StoreError(f"{key}: {reason}")
