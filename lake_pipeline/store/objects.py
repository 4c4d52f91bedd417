"""What stores speak of: object versions, moves, and what a place for objects must be able to do."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from math import ceil
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, GenericError, PreconditionError

from lake_pipeline.backoff import pauses
from lake_pipeline.errors import ObjectChanged, ObjectMissing, StoreError

_T = TypeVar("_T")
_R = TypeVar("_R")
_log = logging.getLogger(__name__)

_CREATE_TRIES = 3
_SHARES = 4  # of each thread, so that none has to end long after the others
# On a local disk threads only wait for each other (measured: a rename takes 71 microseconds alone, 295 among 32); in a
# network's directory, and in S3, they hide how long an answer takes. So of a directory a few are tried first.
TRIED = 8
_SOON = 0.001  # seconds each
PAGE = 1000  # S3's most for a page of a listing and for a bulk delete


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


@dataclass(frozen=True)
class Copy:
    """An object to be given another key; `size` in bytes, None where it is not known."""

    source: str
    target: str
    size: int | None = None


@dataclass(frozen=True)
class Move:
    """A version to be moved, by its size in bytes and its ETag; None stands for whatever lies there now."""

    source: str
    target: str
    size: int | None = None
    etag: str | None = None


class Backend(Protocol):
    """A place for objects. Every method raises StoreError, and ObjectMissing where there is no such object.

    With an `etag`, reading raises ObjectChanged where the object is another version.
    """

    def list(self, folder: str, after: str) -> Iterator[list[StoredObject]]:
        """Objects below a folder (empty, or ending with a slash) in the order of their keys' bytes, after a key."""

    def head(self, key: str) -> StoredObject: ...

    def get(self, key: str, etag: str | None) -> bytes: ...

    def get_range(self, key: str, start: int, length: int, etag: str | None) -> bytes: ...

    def stream(self, key: str) -> Iterator[bytes]: ...

    def open(self, key: str, found: StoredObject | None) -> BinaryIO: ...

    def fetch(self, key: str, target: Path, size: int | None, etag: str | None) -> Path:
        """A local file of this version: the object's own, or `target` with a copy."""

    def put(self, key: str, data: bytes) -> None: ...

    def put_new(self, key: str, data: bytes) -> bool:
        """Put an object where there is none; whether there was none, of many who try for one alone."""

    def upload(self, files: Sequence[tuple[Path, str]]) -> None: ...

    def copy(self, copies: Sequence[Copy]) -> None: ...

    def move(self, moves: Sequence[Move]) -> Sequence[StoreError | None]:
        """Why each move was not made; None where it was."""

    def delete(self, keys: Sequence[str]) -> None: ...

    def delete_folder(self, folder: str) -> None: ...

    def heads(self, keys: Sequence[str]) -> Sequence[StoredObject | None]: ...

    def tells_by_etag(self, key: str, *etags: str) -> bool:
        """Whether copies of an object have its ETag, so that another ETag means other bytes."""


def each(act: Callable[[_T], _R], items: Sequence[_T], at_once: int, *, tried: int = 0) -> Sequence[_R]:
    """What an act says of each item, so many side by side; the first error ends it, once those under way have ended.

    Where the first `tried` ones take no time, the others are done one by one as well.
    """
    began = time.monotonic()
    done = [act(item) for item in items[:tried]]
    rest = items[tried:]
    if tried and time.monotonic() - began < _SOON * tried:
        return [*done, *map(act, rest)]
    # Some at a time: to hand a thread one more takes as long as a directory takes to look at it.
    shares = list(batched(rest, ceil(len(rest) / at_once / _SHARES) or 1))
    with ThreadPoolExecutor(at_once) as pool:
        return [*done, *chain.from_iterable(pool.map(lambda share: [act(item) for item in share], shares))]


def head_or_none(backend: Backend, key: str) -> StoredObject | None:
    """The object under a key; None where there is none."""
    with suppress(ObjectMissing):
        return backend.head(key)
    return None


def described(meta: Any) -> StoredObject:
    """An object as obstore tells of it."""
    return StoredObject(meta["path"], meta["size"], (meta["e_tag"] or "").strip('"'), meta["last_modified"])


def if_match(etag: str | None) -> Any:
    """obstore's options of a read that is refused where the object has another ETag."""
    return {"if_match": f'"{etag}"'} if etag else {}


def refuse_other(found: StoredObject, size: int | None, etag: str | None) -> None:
    """Raise ObjectChanged where an object has not the size or the ETag that is asked for."""
    if size not in (None, found.size) or etag not in (None, found.etag):
        raise ObjectChanged(f"{found.key} is another version by now")


def create(store: Any, key: str, data: bytes) -> bool:
    """obstore's put where there is no object; whether there was none.

    Where an answer was lost, what lies there then may be this very object, and the answer is False all the same.
    """
    waits = pauses(0.2, 5.0)
    for left in reversed(range(_CREATE_TRIES)):
        try:
            obstore.put(store, key, data, mode="create")
        except AlreadyExistsError:
            return False
        except GenericError as error:
            if not left:
                raise
            # obstore does not ask again by itself whether it may create.
            _log.warning("%s: %s; asked again", key, str(error).partition("\n")[0])
            time.sleep(next(waits))
        else:
            return True
    raise AssertionError("unreachable")


@contextmanager
def translated(key: str) -> Iterator[None]:
    """Turn what clients raise into errors of ours that name the key."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        raise translate(error, key) from error


def translate(error: Exception, key: str) -> StoreError:
    """What a client raised, as an error of ours that names the key."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, FileNotFoundError) and "<Code>NoSuchBucket</Code>" not in str(error):
        return ObjectMissing(key)
    if isinstance(error, PreconditionError):
        return ObjectChanged(f"{key} is another version by now")
    reason = str(error).split("\n\nDebug source:")[0]  # which repeats the message as Rust sees it
    return StoreError(f"{key}: {reason}")
