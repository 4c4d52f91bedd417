"""Discovery by S3 Inventory: what a report lists, into the ledger, without a LIST of the bucket.

A report is a day old when it is read. A key that the ledger has never seen is taken at the report's word; one that it
knows in another version is looked at, and what lies there counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from lake_pipeline.dataset import Dataset
from lake_pipeline.discovery.bucket import LakeBucket
from lake_pipeline.discovery.listing import Discovered, is_raw_file, listed
from lake_pipeline.discovery.report import Report, read_objects
from lake_pipeline.errors import InventoryInvalid
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import Registered
from lake_pipeline.store import Store, StoredObject


def discover_reported(
    dataset: Dataset,
    report: Report,
    bucket: LakeBucket,
    store: Store,
    ledger: Ledger,
    *,
    on_progress: Callable[[Discovered], None] | None = None,
    deadline: float | None = None,
    most: int | None = None,
) -> Discovered:
    """Register a dataset's raw files of a report, from where the last reading of it was broken off.

    It breaks off at the `deadline`, a time of `time.monotonic()`, or when `most` objects of the report were looked at,
    whosever they are. A report that was read to its end is not read again. A listing under way is not disturbed.

    Raises:
        InventoryInvalid: it is of another bucket, cannot be read, or is older than the ledger's memory.
        StoreError: an object could not be looked at; what was registered before is kept.
    """
    _refuse(dataset, report, bucket, ledger)
    root = bucket.prefix + dataset.source.prefix
    so_far, looked_at = Discovered(), 0
    files, rows = ledger.report_progress(dataset.name, report.url)
    for number, file in enumerate(report.files[files:], files):
        for read, objects in read_objects(report, file, skip=rows if number == files else 0):
            below = [item for item in objects if item.key.startswith(root)]
            ours = [_within(item, bucket) for item in below]
            raw = [item for item in ours if is_raw_file(item)]
            registered = _register(dataset, raw, store, ledger)
            ledger.save_report_progress(dataset.name, report.url, number, read)
            so_far = Discovered(
                listed=so_far.listed + len(ours),
                new=so_far.new + registered.new,
                known=so_far.known + registered.known,
                skipped=so_far.skipped + len(ours) - len(raw),
            )
            if on_progress is not None:
                on_progress(so_far)
            looked_at += len(objects)
            late = deadline is not None and time.monotonic() >= deadline
            if late or (most is not None and looked_at >= most):
                return so_far
        ledger.save_report_progress(dataset.name, report.url, number + 1, 0)
    return Discovered(so_far.listed, so_far.new, so_far.known, so_far.skipped, complete=True)


def refuse_other_bucket(report: Report, bucket: LakeBucket) -> None:
    """Raise InventoryInvalid where a report is not of the lake's bucket."""
    if report.bucket != bucket.name:
        raise InventoryInvalid(f"{report.url} is of the bucket {report.bucket}, and the lake is in {bucket.name}")


def _refuse(dataset: Dataset, report: Report, bucket: LakeBucket, ledger: Ledger) -> None:
    refuse_other_bucket(report, bucket)
    keep = dataset.retention.file_records
    if keep is not None and ledger.now() - report.created_at >= keep:
        raise InventoryInvalid(
            f"{report.url} was begun at {report.created_at:%Y-%m-%d %H:%M}, and {dataset.name} forgets files sooner"
            " (retention.file_records), so it would take for new what was archived since"
        )


def _register(dataset: Dataset, objects: list[StoredObject], store: Store, ledger: Ledger) -> Registered:
    if not objects:
        return Registered(0, 0)
    unseen, otherwise = ledger.register_unseen(dataset.name, [listed(dataset, item) for item in objects])
    there = [listed(dataset, item) for item in store.heads(otherwise) if item is not None]
    if there:
        unseen += ledger.register(dataset.name, there, etag_now=store.etag_now).new
    return Registered(unseen, len(objects) - unseen)


def _within(item: StoredObject, bucket: LakeBucket) -> StoredObject:
    return StoredObject(item.key.removeprefix(bucket.prefix), item.size, item.etag, item.last_modified)
