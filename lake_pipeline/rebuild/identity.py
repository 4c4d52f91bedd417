"""Store and ledger made a pair again, by whichever of the two is right."""

from __future__ import annotations

from lake_pipeline.dataset import Dataset
from lake_pipeline.documents import IDENTITY, commits_folder, mark_key, schemas_folder
from lake_pipeline.guard import identity_document, stored_lake
from lake_pipeline.lake import Lake
from lake_pipeline.recording import record_commits


def adopt_store(lake: Lake) -> None:
    """The ledger is of the store's lake from now on; a store that says nothing is given an identity."""
    if (there := stored_lake(lake.store)) is None:
        lake.store.put_new(IDENTITY, identity_document((lake.ledger.known_lake() or lake.ledger.make_lake()).lake))
        there = stored_lake(lake.store)
    if there is not None:
        lake.ledger.adopt_lake(there)


def write_documents(lake: Lake, datasets: list[Dataset]) -> dict[str, int]:
    """Write down anew what the ledger knows, in place of what the store says; commits written, by dataset.

    May be repeated, and killed anywhere.
    """
    written = {}
    for dataset in datasets:
        lake.ledger.forget_recorded(dataset.name)
        for folder in (commits_folder(dataset.name), schemas_folder(dataset.name)):
            lake.store.delete_prefix(folder)
        lake.store.delete([mark_key(dataset.name)])
    # Until now the store was refused, and nothing of it was read.
    known = lake.ledger.known_lake() or lake.ledger.make_lake()
    lake.store.put(IDENTITY, identity_document(known.lake))
    lake.ledger.lake_is_stored()
    for dataset in datasets:
        written[dataset.name] = record_commits(dataset.name, lake.store, lake.ledger)
    return written
