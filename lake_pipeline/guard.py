"""Whether the ledger is this lake's and knows all of it. Whoever changes either asks first, and is refused if not.

An empty ledger would take every raw file for new, and an older one newer outputs for what killed attempts left.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import chain, islice

from lake_pipeline.dataset import Dataset
from lake_pipeline.documents import IDENTITY, mark_key, read_document
from lake_pipeline.errors import LakeError, LedgerMismatch, ManifestInvalid
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.manifests import Manifest
from lake_pipeline.store import Store

# Of what lies below manifests/ so much is looked at for a document of ours.
_LOOKED_AT = 20
_WAYS_OUT = (
    "restore the newest backup of the ledger, or point LAKE_DATABASE_URL and LAKE_STORE at what belongs together;"
    " `lake rebuild` makes the ledger anew from what is in the store"
)


def check_ledger(lake: Lake, datasets: Iterable[Dataset]) -> None:
    """Refuse where the ledger is not this store's, or is older than what the store holds of these datasets.

    A new store and a new ledger, and those of a release that wrote nothing of this down, are made a pair.

    Raises:
        LedgerMismatch: it is not; the message says which of the cases, and what to do.
    """
    _check_identity(lake.store, lake.ledger)
    for dataset in datasets:
        _check_mark(lake.store, lake.ledger, dataset.name)


def stored_lake(store: Store) -> uuid.UUID | None:
    """The lake that the store says it is; None where it says nothing.

    Raises:
        ManifestInvalid: what it says cannot be read.
    """
    document = read_document(store, IDENTITY)
    try:
        return uuid.UUID(document["lake"]) if document is not None else None
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise ManifestInvalid(f"{IDENTITY} names no lake: {error}") from error


def identity_document(lake: uuid.UUID) -> bytes:
    """What a store says of itself."""
    return json.dumps({"lake": str(lake), "made_at": datetime.now(UTC).isoformat()}).encode()


def _check_identity(store: Store, ledger: Ledger) -> None:
    there, known = stored_lake(store), ledger.known_lake()
    if there is None:
        if known is not None and known.stored and ledger.has_commits():
            raise LedgerMismatch(
                f"the ledger has commits of lake {known.lake}, and {store.url} does not say which lake it is, as if it"
                " were another store or had been emptied: point LAKE_STORE at the right one, or, if it is this one and"
                f" only {IDENTITY} is gone, `lake rebuild --documents` writes it anew"
            )
        if not ledger.has_manifests() and (document := _older_document(store)):
            raise LedgerMismatch(
                f"the ledger is empty, and {store.url} has been converted before ({document}): {_WAYS_OUT}"
            )
        known = known or ledger.make_lake()
        # Of many who are first, one makes it.
        store.put_new(IDENTITY, identity_document(known.lake))
        there = stored_lake(store)
    if known is None:
        what = "is older than its identity" if ledger.has_manifests() else "is empty"
        raise LedgerMismatch(f"{store.url} is lake {there}, and the ledger {what}: {_WAYS_OUT}")
    if there != known.lake:
        raise LedgerMismatch(f"{store.url} is lake {there}, and the ledger is of lake {known.lake}: {_WAYS_OUT}")
    if not known.stored:
        ledger.lake_is_stored()


def _check_mark(store: Store, ledger: Ledger, dataset: str) -> None:
    # The mark first: it rises after the ledger does.
    mark = read_document(store, mark_key(dataset))
    if mark is None:
        return
    known = ledger.changes(dataset)
    if known < mark["changes"]:
        raise LedgerMismatch(
            f"the ledger knows {known:,} changes of {dataset}, and the store holds {mark['changes']:,}, the last of"
            f" {mark.get('committed_at')}: it is older than the table, as if restored from a backup. {_WAYS_OUT}"
        )


def _older_document(store: Store) -> str | None:
    """The key of a manifest's document; releases that wrote nothing else down wrote these."""
    for item in islice(chain.from_iterable(store.list("manifests/")), _LOOKED_AT):
        try:
            Manifest.from_json(store.get(item.key).decode())
        except (ValueError, KeyError, TypeError, LakeError):
            continue  # a stranger's
        return item.key
    return None
