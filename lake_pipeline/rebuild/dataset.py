"""A dataset's rows of the ledger, rebuilt: all of them or, where this is killed, none."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from lake_pipeline.dataset import Dataset
from lake_pipeline.documents import mark_key
from lake_pipeline.failpoints import failpoint
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.rebuilding import Folders, Rebuild
from lake_pipeline.published import open_parquet
from lake_pipeline.rebuild.sources import load_commits, load_erasures, load_listings, load_plans, load_schemas
from lake_pipeline.recording import record_commits
from lake_pipeline.store import Store, StoredObject

_AT_ONCE = 16
_SHOWN = 20
_ANY_TIME = datetime.min.replace(tzinfo=UTC)  # copies are told by size and ETag


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: its kind, how many there are, and the first of them."""

    kind: str
    count: int
    examples: list[str]


@dataclass(frozen=True)
class Rebuilt:
    """What the ledger has of a dataset now; `planned` are manifests of those that are to be converted again."""

    dataset: str
    manifests: int
    planned: int
    files: int
    outputs: int
    rows: int
    schema_versions: int
    findings: list[Finding] = field(default_factory=list)


def rebuild_dataset(lake: Lake, dataset: Dataset, *, dry_run: bool = False) -> Rebuilt:
    """Make a dataset's rows anew from what the store holds, in place of those that the ledger has.

    A manifest is as its commit document says, its outputs held to their sizes and footers. One without a document, or
    with an output that is not what was committed, is to be converted again from where its raw files lie. May be
    repeated, and killed anywhere.

    Raises:
        LedgerError: a worker is converting one of its manifests.
        ManifestInvalid: a request to erase rows cannot be read; nothing was changed.
        StoreError: the store failed; nothing was changed.
    """
    store, name = lake.store, dataset.name
    folders = Folders(dataset.source.prefix, dataset.archive.prefix, f"quarantine/{name}/files/")
    with lake.ledger.rebuilding(name, dry_run=dry_run) as rebuild:
        documents = load_commits(store, name, rebuild)
        schemas, erasures = load_schemas(store, name), load_erasures(store, name)
        load_plans(store, dataset, documents, rebuild)
        load_listings(store, dataset, rebuild)
        rebuild.loaded(dataset.output.stem)
        _locate(store, folders, rebuild)
        _settle_unfound(store, rebuild)
        rebuild.name_lost(folders, moves=dataset.archive.action == "move")
        _verify(store, rebuild)
        rebuild.replan_faulty()
        rebuild.add_leftovers()
        findings = [Finding(*found) for found in rebuild.findings(folders, _SHOWN)]
        if documents.damaged:
            findings.append(_named("document_damaged", sorted(documents.damaged)))
        totals = rebuild.totals()
        if [version.version for version in schemas] != list(range(1, len(schemas) + 1)) or (
            documents.read and not schemas
        ):
            findings.append(_named("schema_missing", [f"versions found: {[each.version for each in schemas]}"]))
        if not dry_run:
            rebuild.replace(schemas, erasures)
    if not dry_run:
        failpoint("rebuild.replaced")
        # It may count changes whose documents are lost.
        store.delete([mark_key(name)])
        record_commits(name, store, lake.ledger)
    return Rebuilt(name, *totals, len(schemas), findings)


def _named(kind: str, examples: list[str]) -> Finding:
    return Finding(kind, len(examples), examples[:_SHOWN])


def _locate(store: Store, folders: Folders, rebuild: Rebuild) -> None:
    """Find the raw files, by ETag or, where a copy's ETag says nothing, by size."""
    rebuild.locate(folders)

    def is_copy(candidate: tuple[int, str, str, int, str]) -> bool:
        _, etag, key, size, stored_etag = candidate
        return store.is_copy_of(StoredObject(key, size, stored_etag, _ANY_TIME), size, etag)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for page in rebuild.doubtful():
            copies = zip(page, pool.map(is_copy, page), strict=True)
            rebuild.located(list({found[0]: found[2] for found, is_one in copies if is_one}.items()))
    rebuild.locate_mended(folders)


def _settle_unfound(store: Store, rebuild: Rebuild) -> None:
    """Manifests that cannot be converted anew as a whole: what one attempt has left is what there is of them."""
    for manifest_id in rebuild.unfound_plans():
        attempts = rebuild.outputs_by_attempt(manifest_id)
        if len(attempts) == 1:
            ((attempt, files),) = attempts.items()
            outputs, rows = [], Counter[str]()
            for path, size in files:
                counts = source_counts(store, path)
                outputs.append((path, counts.total(), size))
                rows += counts
            rebuild.commit_found(manifest_id, attempt, outputs, dict(rows))
        rebuild.drop_unfound(manifest_id)


def source_counts(store: Store, path: str) -> Counter[str]:
    """The rows of a curated file by the raw file that they came from."""
    counts = Counter[str]()
    with open_parquet(store, path) as file:
        for batch in file.iter_batches(columns=["_source_file"]):
            found = pa.array(batch.column(0)).value_counts()
            counts.update({item["values"]: item["counts"] for item in found.to_pylist()})
    return counts


def _verify(store: Store, rebuild: Rebuild) -> None:
    """Hold outputs to the listing and to their footers."""
    staged = rebuild.staged()
    rebuild.release_staged([key for key, there in zip(staged, store.heads(staged), strict=True) if there is None])
    rebuild.check_sizes()

    def is_wrong(output: tuple[str, int]) -> bool:
        path, rows = output
        try:
            with open_parquet(store, path) as file:
                return bool(file.metadata.num_rows != rows)
        except pa.ArrowInvalid:
            return True

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for page in rebuild.intact_outputs():
            wrong = pool.map(is_wrong, page)
            rebuild.at_fault([path for (path, _), bad in zip(page, wrong, strict=True) if bad])
