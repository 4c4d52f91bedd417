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
from pathlib import Path

import duckdb
from filelock import FileLock

from lake_pipeline.catalog.duckdb import read_s3, show_extract, table_files, view_sql
from lake_pipeline.dataset import Dataset, Extract
from lake_pipeline.errors import ExtractFailed, ObjectMissing
from lake_pipeline.kernel.json_reading import patterns
from lake_pipeline.kernel.quoting import literal
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import OutputFile
from lake_pipeline.scratch import scratch_folder

_FILE_BYTES = "512MB"


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
    return [extract for extract, now in found if now is None or (now.mark, now.sql) != (mark, extract.sql)]


def staleness_key(lake: Lake, dataset: Dataset, extracts: list[Extract]) -> str:
    """Differs where the table was committed anew or the SQL is another: what a run is asked for once."""
    text = "\0".join([lake.ledger.commit_mark(dataset.name), *(f"{item.name}\0{item.sql}" for item in extracts)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_extract(lake: Lake, dataset: Dataset, extract: Extract) -> ExtractManifest:
    """Write an extract of the table as it is now, in place of the one before.

    Raises:
        ExtractFailed: the SQL is not one SELECT that can be evaluated on this table.
    """
    store, home, folder = lake.store, lake.settings.home_dir, extract_folder(dataset, extract)
    home.mkdir(parents=True, exist_ok=True)
    with (
        FileLock(home / f"extract-{table_name(dataset, extract)}.lock"),
        scratch_folder() as scratch,
    ):
        mark = lake.ledger.commit_mark(dataset.name)  # read first: a commit meanwhile makes this one stale
        written = _select(lake, dataset, extract, scratch)
        target = f"{folder}{secrets.token_hex(8)}/"
        keys = [f"{target}part-{number:04}.parquet" for number in range(len(written))]
        store.upload_all([(path, key) for (path, _), key in zip(written, keys, strict=True)])
        files = [OutputFile(key, rows, path.stat().st_size) for key, (path, rows) in zip(keys, written, strict=True)]
        manifest = ExtractManifest(
            dataset.name, extract.name, mark, extract.sql, datetime.now(UTC).isoformat(), target, tuple(files)
        )
        # The manifest last: until it says so the extract counts as stale, and is made again if this process dies.
        show_extract(lake, table_name(dataset, extract), [file.path for file in files])
        store.put_json(f"{folder}manifest.json", asdict(manifest))
        # Folders of the extract before, and of writers that were killed.
        before = (item.key for item in chain.from_iterable(store.list(folder)) if not item.key.startswith(target))
        store.delete([key for key in before if key != f"{folder}manifest.json"])
    return manifest


def _select(lake: Lake, dataset: Dataset, extract: Extract, scratch: Path) -> list[tuple[Path, int]]:
    """The local Parquet files that the SQL makes, and their rows."""
    files = table_files(lake, dataset)
    allowed, spill = scratch / "allowed", scratch / "spill"
    target = allowed / "data"
    target.mkdir(parents=True)
    try:
        (statement,) = duckdb.extract_statements(extract.sql)
        if statement.type != duckdb.StatementType.SELECT:
            raise ExtractFailed(f"{dataset.name}.{extract.name}: extracts.sql must be one SELECT")
        with duckdb.connect() as connection:
            connection.execute(f"SET memory_limit = {literal(lake.settings.memory)}")
            connection.execute(f"SET temp_directory = {literal(str(spill))}")
            connection.execute("SET TimeZone = 'UTC'")
            read_s3(connection)
            connection.execute(view_sql(dataset, lake.schema(dataset.name), files))
            # What a declaration says is data: its SQL may read the table's committed files, and write its own folder.
            connection.execute(f"SET allowed_paths = [{', '.join(map(literal, [*files, *patterns(files)]))}]")
            connection.execute(f"SET allowed_directories = [{literal(str(allowed))}]")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            copied = connection.execute(
                f"COPY ({statement.query.rstrip().rstrip(';')}\n) TO {literal(str(target))}"
                f" (FORMAT parquet, COMPRESSION zstd, FILE_SIZE_BYTES {literal(_FILE_BYTES)}, RETURN_STATS true)"
            ).fetchall()
    except ValueError:
        raise ExtractFailed(f"{dataset.name}.{extract.name}: extracts.sql must be one SELECT") from None
    except duckdb.Error as error:
        raise ExtractFailed(f"{dataset.name}.{extract.name}: {error}") from error
    # data_2 comes before data_10: files in the order of the rows.
    return sorted(((Path(path), rows) for path, rows, *_ in copied), key=lambda file: (len(file[0].name), file[0]))
