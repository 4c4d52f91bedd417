"""What a requeue would rewrite, and whether every raw file that it needs is there to be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import RequeuePlan
from lake_pipeline.manifests import ManifestFile
from lake_pipeline.store import Store, batched

_AT_ONCE = 1000


@dataclass(frozen=True)
class Unread:
    """A raw file that the replay could not read: its key, where it should lie, and why."""

    key: str
    location: str
    why: str


def unread_files(dataset: str, plan: RequeuePlan, store: Store, ledger: Ledger) -> Iterator[Unread]:
    """Raw files of the plan that are gone, or of another size or version than they had; by manifest.

    Raises:
        StoreError: one could not be looked at.
    """
    loose = {file.key for file in plan.loose}
    members = (file for name in plan.manifests for file in ledger.manifest_files(dataset, name))
    needed: Iterable[ManifestFile] = chain(plan.loose, (file for file in members if file.key not in loose))
    for files in batched(needed, _AT_ONCE):
        for file, there in zip(files, store.heads([file.location for file in files]), strict=True):
            if there is None:
                yield Unread(file.key, file.location, "gone")
            elif there.size != file.size or (file.location == file.key and there.etag != file.etag):
                yield Unread(file.key, file.location, "overwritten")
