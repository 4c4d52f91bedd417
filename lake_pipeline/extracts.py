"""Extracts: named SQL over a dataset's table, written as Parquet with a manifest of its files.

An extract is written into a new folder; then the catalogue shows it; then its manifest, the pointer that other readers
follow, is replaced; only then the folder before goes.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain

from filelock import FileLock

from lake_pipeline.catalog.contract import catalog_of
from lake_pipeline.dataset import Dataset, Extract
from lake_pipeline.errors import ExtractFailed, ObjectMissing, QueryError
from lake_pipeline.guard import check_ledger
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import OutputFile


@dataclass(frozen=True)
class ExtractManifest:
    """The document of an extract: which commit of the table and which SQL its files show."""

    dataset: str
    extract: str
    mark: str
    sql: str
    created_at: str
    folder: str
    files: tuple[OutputFile, ...]

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)


def extract_folder(dataset: Dataset, extract: Extract) -> str:
    """Where an extract's folders and its manifest lie."""
    return f"extracts/{dataset.name}/{extract.name}/"


def table_name(dataset: Dataset, extract: Extract) -> str:
    return f"{dataset.name}_{extract.name}"


def read_extract(lake: Lake, dataset: Dataset, extract: Extract) -> ExtractManifest | None:
    """The manifest as last written."""
    try:
        document = lake.store.get_json(f"{extract_folder(dataset, extract)}manifest.json")
    except ObjectMissing:
        return None
    return ExtractManifest(**document | {"files": tuple(OutputFile(**file) for file in document["files"])})


def stale_extracts(lake: Lake, dataset: Dataset) -> list[Extract]:
    """Extracts that show another commit of the table than the last, or other SQL than is declared."""
    mark = lake.ledger.commit_mark(dataset.name)
    if not mark or not lake.schema(dataset.name).version:
        return []
    found = ((extract, read_extract(lake, dataset, extract)) for extract in dataset.extracts)
    kind = lake.settings.catalog_kind
    return [extract for extract, now in found if now is None or (now.mark, now.sql) != (mark, extract.sql_for(kind))]


def staleness_key(lake: Lake, dataset: Dataset, extracts: list[Extract]) -> str:
    """Differs where the table was committed anew or the SQL is another: what a run is asked for once."""
    text = "\0".join(
        [lake.ledger.commit_mark(dataset.name), *(f"{item.name}\0{item.sql}\0{item.athena}" for item in extracts)]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_extract(lake: Lake, dataset: Dataset, extract: Extract) -> ExtractManifest:
    """Write an extract of the table as it is now, in place of the one before.

    Raises:
        LedgerMismatch: the ledger is not this lake's, or is older than it.
        ExtractFailed: the SQL is not one SELECT that can be evaluated on this table.
    """
    check_ledger(lake, [dataset])
    store, home, folder = lake.store, lake.settings.home_dir, extract_folder(dataset, extract)
    catalog, sql = catalog_of(lake.settings), extract.sql_for(lake.settings.catalog_kind)
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / f"extract-{table_name(dataset, extract)}.lock"):
        mark = lake.ledger.commit_mark(dataset.name)  # read first: a commit meanwhile makes this one stale
        target = f"{folder}{secrets.token_hex(8)}/"
        try:
            files = catalog.write_select(lake, dataset, sql, target)
        except QueryError as error:
            raise ExtractFailed(f"{dataset.name}.{extract.name}: {error.detail}") from error
        manifest = ExtractManifest(
            dataset.name, extract.name, mark, sql, datetime.now(UTC).isoformat(), target, tuple(files)
        )
        # The manifest last: until it says so the extract counts as stale, and is made again if this process dies.
        catalog.show_extract(lake, table_name(dataset, extract), [file.path for file in files])
        store.put_json(f"{folder}manifest.json", asdict(manifest))
        # Folders of the extract before, and of writers that were killed.
        before = (item.key for item in chain.from_iterable(store.list(folder)) if not item.key.startswith(target))
        store.delete([key for key in before if key != f"{folder}manifest.json"])
    return manifest
