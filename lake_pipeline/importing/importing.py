"""Taking over from an old system: what it has done is done here too, and nothing of it is processed again.

The store is listed once, beside the old table in the order of keys, a page at a time: neither is ever in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from itertools import chain, groupby

from lake_pipeline.audit.merging import merged
from lake_pipeline.catalog.contract import catalog_of
from lake_pipeline.dataset import Dataset
from lake_pipeline.discovery.listing import is_raw_file, listed
from lake_pipeline.guard import check_ledger
from lake_pipeline.importing.judging import VERDICTS, Found, Verdict, judge
from lake_pipeline.importing.old_files import OldFile
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.importing import DoneFile
from lake_pipeline.ledger.models import ListedObject
from lake_pipeline.recording import record_commits
from lake_pipeline.store import StoredObject, batched

# Keys in one transaction, and in memory.
_PAGE = 10_000
_SHOWN = 20


@dataclass
class Imported:
    """Keys by what became of them, the manifests that were made, and the first keys that someone should look at."""

    files: Counter[Verdict] = field(default_factory=lambda: Counter(dict.fromkeys(VERDICTS, 0)))
    manifests: int = 0
    examples: dict[Verdict, list[str]] = field(default_factory=lambda: {"changed": [], "missing": []})


_Judged = tuple[Verdict, Found | None, OldFile | None]


def import_files(
    lake: Lake,
    dataset: Dataset,
    old: Iterable[OldFile],
    *,
    dry_run: bool = False,
    on_progress: Callable[[Imported], None] = lambda _: None,
) -> Imported:
    """Mark files as done that an old system has done; `old` are its files, in the order of their keys.

    Each object of the dataset is registered; what is done is SUCCEEDED in manifests that were never converted, what is
    not is PENDING. May be repeated, killed anywhere, and run beside workers. In a dry run nothing is changed.

    Raises:
        LedgerMismatch: the ledger is not this lake's, or is older than it.
        StoreError, LedgerError: one of them failed; what was imported before is kept.
    """
    if not dry_run:
        check_ledger(lake, [dataset])
    done = Imported()
    for page in batched(_beside(lake, dataset, old), _PAGE):
        judged = list(_judged(lake, dataset, page))
        for verdict, found, file in judged:
            done.files[verdict] += 1
            if len(shown := done.examples.get(verdict, [""] * _SHOWN)) < _SHOWN:
                shown.append(found.object.key if found else file.key if file else "")
        if not dry_run:
            done.manifests += _record(lake, dataset, judged)
        on_progress(done)
    if not dry_run:
        record_commits(dataset.name, lake.store, lake.ledger)
        catalog_of(lake.settings).refresh_if_stale(lake, dataset)
    return done


def _beside(lake: Lake, dataset: Dataset, old: Iterable[OldFile]) -> Iterator[tuple[str, Found | None, OldFile | None]]:
    """Each key with what lies in the store of it, and what the old system says; in order.

    What lies in the archive counts where nothing lies where it landed, and somebody knows of it.
    """
    source, archive = dataset.source.prefix, dataset.archive.prefix
    landed = (item for item in chain.from_iterable(lake.store.list(source)) if is_raw_file(item))
    moved = chain.from_iterable(lake.store.list(archive)) if archive else iter(())
    places = merge(
        ((item.key, 0, item) for item in landed),
        ((source + item.key.removeprefix(archive or ""), 1, item) for item in moved if is_raw_file(item)),
        key=lambda place: place[:2],
    )
    first = (next(group) for _, group in groupby(places, lambda place: place[0]))
    at: dict[str, StoredObject] = {}

    def objects() -> Iterator[StoredObject]:
        for key, is_moved, item in first:
            if is_moved:
                at[key] = item
                yield StoredObject(key, item.size, item.etag, item.last_modified)
            else:
                yield item

    for key, item, file in merged(objects(), old, lambda each: each.key):
        place = at.pop(key, None)
        if item is None:
            yield key, None, file
        elif place is None:
            yield key, Found(item), file
        elif file is not None:
            yield key, Found(item, place.key), file


def _judged(lake: Lake, dataset: Dataset, page: list[tuple[str, Found | None, OldFile | None]]) -> Iterator[_Judged]:
    versions = lake.ledger.versions_of(dataset.name, [key for key, _, _ in page])
    known = {version.key: version for version in versions if version.is_current}
    for key, found, file in page:
        yield judge(found, file, known.get(key), lake.store.is_copy_of), found, file


def _record(lake: Lake, dataset: Dataset, judged: list[_Judged]) -> int:
    done, waiting = list[DoneFile](), list[ListedObject]()
    for verdict, found, file in judged:
        if found is None or verdict in ("known", "missing"):
            continue
        item = listed(dataset, found.object)
        if verdict == "done":
            # Where a copy lies, the ETag is that of what landed, by which it is known if it lands again.
            etag = (file.etag if file else None) or item.etag
            done.append(
                DoneFile(
                    ListedObject(item.key, item.size, etag, item.last_modified, item.landing_group), found.archived_key
                )
            )
        else:
            waiting.append(item)
    if not done and not waiting:
        return 0
    batch = dataset.batch
    made = lake.ledger.import_files(
        dataset.name, done, waiting, max_files=batch.max_files, max_bytes=batch.max_bytes, metrics={}
    )
    return len(made)
