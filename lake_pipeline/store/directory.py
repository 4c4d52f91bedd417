"""Objects in a directory: a key is a path, a move a rename, a copy of what never changes a hard link."""

from __future__ import annotations

import logging
import os
import re
import shutil
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO

import obstore
from obstore.store import LocalStore

from lake_pipeline.errors import ObjectChanged, ObjectMissing, StoreError
from lake_pipeline.store.objects import (
    PAGE,
    TRIED,
    Copy,
    Move,
    StoredObject,
    batched,
    create,
    each,
    head_or_none,
    if_match,
    refuse_other,
    translate,
    translated,
)
from lake_pipeline.store.paths import is_path

logger = logging.getLogger(__name__)

# Renames and links at once, where a directory is a network's.
_AT_ONCE = 32
# What obstore calls a file that it is still writing.
_UNFINISHED = re.compile(r".*#\d+", re.DOTALL)
# What Python makes of a name's bytes that are not UTF-8.
_NO_TEXT = re.compile("[\ud800-\udfff]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A folder beside files that are on their way to another name.
_HELD = ".lake-held."


class Directory:
    """The objects below a directory, which is made where it is missing.

    A symbolic link below it is no object and no folder, wherever it leads: nothing is read, written, moved or deleted
    through one. The directory itself may be one.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        with translated(str(root)):
            self._store = LocalStore(root, mkdir=True, automatic_cleanup=True)

    def path(self, key: str, error: type[StoreError] = StoreError) -> Path:
        """Where the key's object is, or is to be.

        Raises:
            StoreError: of the kind `error`, where a link is on the way or the key is no path below the root.
        """
        if not is_path(key):
            raise StoreError(f"{key}: a directory cannot hold such a key")
        place = str(self._root)
        for name in key.split("/"):
            place = f"{place}/{name}"
            if os.path.islink(place):  # noqa: PTH114 - a Path for each of a million keys takes long
                raise error(f"{key}: {place} is a symbolic link, and none is followed")
        return Path(place)

    def list(self, folder: str, after: str) -> Iterator[list[StoredObject]]:
        with translated(folder):
            if inner := folder.rstrip("/"):
                self.path(inner)
            yield from batched(self._walk(inner, after), PAGE)

    def _walk(self, folder: str, after: str) -> Iterator[StoredObject]:
        # A directory lists in no order, and only key order can be resumed: sort one folder at a time.
        entries = list(self._entries(folder))
        if held := [entry for _, entry in entries if entry.name.startswith(_HELD)]:
            for entry in held:
                self._release(Path(entry.path))
            entries = [found for found in self._entries(folder) if not found[1].name.startswith(_HELD)]
        for key, entry in sorted(entries, key=lambda item: item[0]):
            if key.endswith("/"):
                if key > after or after.startswith(key):
                    yield from self._walk(key.rstrip("/"), after)
            elif key > after:
                with suppress(FileNotFoundError):  # it went meanwhile
                    yield _described(key, entry.stat(follow_symlinks=False))

    def _entries(self, folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Folders, whose keys end in a slash, and files of a folder; links and names that no key can have left out."""
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._root / folder) as found:
            for entry in found:
                key = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_symlink():
                    logger.warning("left alone, for it is a symbolic link, and none is followed: %r", key)
                elif not is_path(entry.name) or _NO_TEXT.search(entry.name):
                    logger.warning("left alone, for no key can have its name: %r", key)
                elif entry.is_dir(follow_symlinks=False):
                    yield f"{key}/", entry
                elif entry.is_file(follow_symlinks=False) and not _UNFINISHED.fullmatch(entry.name):
                    yield key, entry

    def _release(self, folder: Path) -> None:
        """Put back what a process holds: it was killed, or will find out and take it anew."""
        with suppress(FileNotFoundError):
            for held in folder.iterdir():
                put_back(held, folder.parent / held.name)
        with suppress(OSError):
            folder.rmdir()

    def head(self, key: str) -> StoredObject:
        with translated(key):
            return _head(key, self.path(key, ObjectMissing))

    def heads(self, keys: Sequence[str]) -> Sequence[StoredObject | None]:
        return each(partial(head_or_none, self), keys, _AT_ONCE, tried=TRIED)

    def get(self, key: str, etag: str | None) -> bytes:
        with translated(key):
            self.path(key, ObjectMissing)
            return bytes(obstore.get(self._store, key, options=if_match(etag)).bytes())

    def get_range(self, key: str, start: int, length: int, etag: str | None) -> bytes:
        with translated(key):
            self.path(key, ObjectMissing)
            options = if_match(etag) | {"range": (start, start + length)}
            return bytes(obstore.get(self._store, key, options=options).bytes())

    def stream(self, key: str) -> Iterator[bytes]:
        with translated(key):
            self.path(key, ObjectMissing)
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=2**20):
                yield bytes(chunk)

    def open(self, key: str, found: StoredObject | None) -> BinaryIO:  # noqa: ARG002 - it is at hand
        with translated(key):
            return self.path(key, ObjectMissing).open("rb")

    def fetch(self, key: str, target: Path, size: int | None, etag: str | None) -> Path:  # noqa: ARG002 - read in place
        path = self.path(key, ObjectMissing)
        if not path.is_file():
            raise ObjectMissing(key)
        if size is not None or etag is not None:
            refuse_other(self.head(key), size, etag)
        return path

    def put(self, key: str, data: bytes) -> None:
        with translated(key):
            self.path(key)
            obstore.put(self._store, key, data)

    def put_new(self, key: str, data: bytes) -> bool:
        with translated(key):
            self.path(key)
            return create(self._store, key, data)

    def upload(self, files: Sequence[tuple[Path, str]]) -> None:
        for path, key in files:
            with translated(key), path.open("rb") as file:
                self.path(key)
                obstore.put(self._store, key, file)

    def copy(self, copies: Sequence[Copy]) -> None:
        def link(item: Copy) -> None:
            with translated(item.source):
                _link(self.path(item.source, ObjectMissing), self.path(item.target))

        each(link, copies, _AT_ONCE, tried=TRIED)

    def move(self, moves: Sequence[Move]) -> Sequence[StoreError | None]:
        ways: set[str] = set()
        try:
            return each(partial(self._rename, ways=ways), moves, _AT_ONCE, tried=TRIED)
        finally:
            for way in ways:
                with suppress(OSError):
                    Path(way).rmdir()

    def _rename(self, item: Move, ways: set[str]) -> StoreError | None:
        try:
            source = self.path(item.source, ObjectMissing)
            refuse_other(_head(item.source, source), item.size, item.etag)
            self.take(item, source, ways)
        except Exception as error:
            return translate(error, item.source)
        return None

    def take(self, item: Move, source: Path, ways: set[str]) -> None:
        """Rename whatever lies at the source by now; where that is not the version to be moved, it goes back.

        A version is held beside its source until it is known for what it is. So the target's older file is never
        replaced by another version, and who lists the folder finds what a process held that was killed. `ways` gets
        the folders that were made for that.

        Raises:
            ObjectChanged: it was another version, and is at the source again unless a newer one has landed there.
        """
        target = self.path(item.target)
        while True:
            if not target.parent.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
            if item.etag is None:  # whatever lies there is meant
                source.replace(target)
                return
            try:
                self._take_by_way(item, source, target, ways)
            except (FileNotFoundError, ObjectMissing):
                if not source.exists():
                    raise
            else:
                return  # else whoever lists has put it back meanwhile

    def _take_by_way(self, item: Move, source: Path, target: Path, ways: set[str]) -> None:
        held = source.parent / f"{_HELD}{os.getpid()}.{threading.get_ident()}" / source.name
        if not held.parent.is_dir():
            held.parent.mkdir(exist_ok=True)
            ways.add(str(held.parent))
        source.replace(held)
        found = _head(item.source, held)
        if (found.size, found.etag) != (item.size, item.etag):  # a rename keeps them
            put_back(held, source)
            raise ObjectChanged(f"{item.source} is another version by now")
        held.replace(target)
        held.unlink(missing_ok=True)  # replace() keeps both names where they are of one inode

    def delete(self, keys: Sequence[str]) -> None:
        if there := [key for key in keys if self._holds(key)]:
            with translated(there[0]):
                obstore.delete(self._store, there)

    def _holds(self, key: str) -> bool:
        try:
            return self.path(key, ObjectMissing).exists()
        except ObjectMissing:
            return False

    def delete_folder(self, folder: str) -> None:
        path = self.path(folder.rstrip("/")) if folder else self._root
        try:
            with translated(folder):
                shutil.rmtree(path)
        except ObjectMissing:
            shutil.rmtree(path, ignore_errors=True)  # it was never there, or another deletes it too
        with suppress(OSError):  # a folder above it that still holds something stays
            for above in path.parents[: len(Path(folder).parts) - 1]:
                above.rmdir()

    def tells_by_etag(self, key: str, *etags: str) -> bool:  # noqa: ARG002 - a rename keeps it
        return True


def _head(key: str, path: Path) -> StoredObject:
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise ObjectMissing(key) from None
    if not stat.S_ISREG(found.st_mode):
        raise ObjectMissing(key)
    return _described(key, found)


def _described(key: str, found: os.stat_result) -> StoredObject:
    """A file as obstore tells of it."""
    micros = found.st_mtime_ns // 1000
    etag = f"{found.st_ino:x}-{max(micros, 0):x}-{found.st_size:x}"
    return StoredObject(key, found.st_size, etag, _EPOCH + timedelta(microseconds=micros))


def put_back(taken: Path, source: Path) -> None:
    """Undo a rename. Where a newer file has landed at the source it stays: it would have replaced the one taken."""
    with suppress(FileExistsError, FileNotFoundError):  # another process may have put it back
        os.link(taken, source)  # which never replaces a file, as a rename would
    taken.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    # A staged file never changes again, so a second name for it is as good as a copy.
    target.parent.mkdir(parents=True, exist_ok=True)
    # The name on the way is in staging, where a killed process's leftovers are cleared.
    temporary = source.with_name(f".{source.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.unlink(missing_ok=True)
    os.link(source, temporary)
    temporary.replace(target)
    temporary.unlink(missing_ok=True)  # replace() keeps both names where they are one inode
