"""News of objects → ledger: an event says where to look, and what lies there is what counts.

So it does no harm that events come twice, late, in any order, or of an object that is gone again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from lake_pipeline.dataset import Dataset
from lake_pipeline.discovery.envelopes import ObjectEvent, newest
from lake_pipeline.discovery.listing import is_raw_file, listed, storable
from lake_pipeline.errors import ObjectMissing, StoreError
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.store import Store, StoredObject, each

_AT_ONCE = 32
DELETED = "deleted from the store before it was converted"


@dataclass(frozen=True)
class TakenIn:
    """What became of events: new versions in the ledger, and versions ended because their objects were deleted.

    `failed` says of keys that could not be looked at why not; their events must come again.
    """

    new: int = 0
    deleted: int = 0
    failed: dict[str, StoreError] = field(default_factory=dict)


def take_in(
    events: Iterable[ObjectEvent], root: str, datasets: Iterable[Dataset], store: Store, ledger: Ledger
) -> TakenIn:
    """Bring the events of this lake into the ledger, committed when this returns; `root` begins all of their keys.

    What lies under no dataset's prefix, such as the curated files, is passed over.

    Raises:
        StoreError: not one object could be looked at.
    """
    now = [(event, event.key.removeprefix(root)) for event in newest(events)]
    new, deleted, answered, failed = 0, 0, 0, dict[str, StoreError]()
    for dataset in datasets:
        ours = [(event, key) for event, key in now if key.startswith(dataset.source.prefix) and key == storable(key)]
        if not ours:
            continue
        waiting = ledger.unconverted(dataset.name, [key for event, key in ours if event.kind == "deleted"])
        created = [(key, event.etag or "") for event, key in ours if event.kind == "created"]
        unknown = ledger.unknown_versions(dataset.name, created)
        relanded = ledger.archived_versions(dataset.name, created)
        places = {key for key, _ in unknown} | relanded | set(waiting.values())
        # Before they are looked at: what lands under such a key after that is no longer meant.
        waiting = ledger.unconverted(dataset.name, sorted(places))
        found, refused = _look(store, places)
        gone = places - found.keys() - refused.keys()
        files = [listed(dataset, item) for item in found.values() if is_raw_file(item)]
        if files:
            new += ledger.register(dataset.name, files, etag_now=store.etag_now).new
        if ended := [id_ for id_, key in waiting.items() if key in gone]:
            deleted += ledger.supersede_deleted(dataset.name, ended, DELETED)
        answered += len(found) + len(gone)
        failed |= {root + key: error for key, error in refused.items()}
    if failed and not answered:
        raise next(iter(failed.values()))
    return TakenIn(new, deleted, failed)


def _look(store: Store, keys: Collection[str]) -> tuple[dict[str, StoredObject], dict[str, StoreError]]:
    """The objects that are there, and why others could not be looked at; a key in neither holds no object."""

    def head(key: str) -> StoredObject | StoreError | None:
        try:
            return store.head(key)
        except ObjectMissing:
            return None
        except StoreError as error:
            return error

    if not keys:
        return {}, {}
    answers = dict(zip(keys, each(head, list(keys), _AT_ONCE), strict=True))
    return (
        {key: answer for key, answer in answers.items() if isinstance(answer, StoredObject)},
        {key: answer for key, answer in answers.items() if isinstance(answer, StoreError)},
    )
