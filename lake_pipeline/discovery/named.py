"""Discovery by name: the raw files that somebody lists, and no others."""

from __future__ import annotations

from lake_pipeline.dataset import Dataset
from lake_pipeline.discovery.listing import Discovered, is_raw_file, listed
from lake_pipeline.errors import UnknownFile
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.store import Store

_SHOWN = 5


def discover_named(dataset: Dataset, store: Store, ledger: Ledger, keys: list[str]) -> Discovered:
    """Register the raw files of these keys; those that were done and archived before are known, and stay done.

    Raises:
        UnknownFile: a key is not below the dataset's prefix, or neither in the store nor in the ledger; nothing was
            registered.
        StoreError: one of them could not be looked at; nothing was registered.
    """
    there = store.heads([key for key in keys if key.startswith(dataset.source.prefix)])
    found = [item for item in there if item is not None and is_raw_file(item)]
    known = ledger.statuses(dataset.name, keys).keys() | {item.key for item in found}
    if unknown := [key for key in keys if key not in known]:
        more = f" and {len(unknown) - _SHOWN:,} more" if len(unknown) > _SHOWN else ""
        raise UnknownFile(
            f"{', '.join(unknown[:_SHOWN])}{more}; {dataset.name} has it neither in the store, below"
            f" {dataset.source.prefix}, nor in the ledger"
        )
    files = [listed(dataset, item) for item in found]
    registered = ledger.register(dataset.name, files, etag_now=store.etag_now)
    return Discovered(len(keys), registered.new, len(keys) - registered.new, complete=True)
