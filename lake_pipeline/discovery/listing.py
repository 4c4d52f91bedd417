"""Discovery by listing: what lies under a dataset's prefix, streamed into the ledger."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from lake_pipeline.dataset import Dataset
from lake_pipeline.failpoints import failpoint
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import ListedObject
from lake_pipeline.store import Store, StoredObject, batched

logger = logging.getLogger(__name__)

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class Discovered:
    """What a listing saw: objects, of them new versions, known ones, and ones that are no raw files.

    `complete` is false where the budget was spent first; the next call goes on from there.
    """

    listed: int = 0
    new: int = 0
    known: int = 0
    skipped: int = 0
    complete: bool = False


def discover(
    dataset: Dataset,
    store: Store,
    ledger: Ledger,
    *,
    page: int = 10_000,
    on_progress: Callable[[Discovered], None] | None = None,
    deadline: float | None = None,
    most: int | None = None,
) -> Discovered:
    """List a dataset's prefix into the ledger, a page a transaction, from where the last listing was broken off.

    It breaks off at the `deadline`, a time of `time.monotonic()`, or when `most` objects were listed. May be repeated,
    and killed anywhere.

    Raises:
        StoreError: the listing failed; what was listed before is kept.
    """
    so_far = Discovered()
    objects = chain.from_iterable(store.list(dataset.source.prefix, after=ledger.cursor(dataset.name)))
    for batch in batched(objects, page):
        files = [listed(dataset, item) for item in batch if is_raw_file(item)]
        failpoint("discovery.listed")
        registered = ledger.register(dataset.name, files, cursor=storable(batch[-1].key), etag_now=store.etag_now)
        failpoint("discovery.registered")
        so_far = Discovered(
            listed=so_far.listed + len(batch),
            new=so_far.new + registered.new,
            known=so_far.known + registered.known,
            skipped=so_far.skipped + len(batch) - len(files),
        )
        if on_progress is not None:
            on_progress(so_far)
        if deadline is not None and time.monotonic() >= deadline:
            return so_far
        if most is not None and so_far.listed >= most:
            return so_far
    ledger.clear_cursor(dataset.name)
    return Discovered(so_far.listed, so_far.new, so_far.known, so_far.skipped, complete=True)


def listed(dataset: Dataset, item: StoredObject) -> ListedObject:
    """An object with its landing group."""
    group = dataset.source.group_template.group_of(item.key.removeprefix(dataset.source.prefix))
    return ListedObject(item.key, item.size, item.etag, item.last_modified, group)


def is_raw_file(item: StoredObject) -> bool:
    """Whether an object is a file: not the empty mark of a folder, and of a name that the ledger can hold."""
    if item.key.endswith("/") and item.size == 0:
        return False
    if storable(item.key) != item.key:
        logger.warning("left alone, for Postgres cannot hold its key: %r", item.key)
        return False
    return True


def storable(key: str) -> str:
    """The key as far as Postgres text can hold it: up to a NUL or half of a surrogate pair."""
    found = _UNSTORABLE.search(key)
    return key[: found.start()] if found else key
