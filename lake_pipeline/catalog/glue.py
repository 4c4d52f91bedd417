"""The catalogue on AWS: a Glue table for each dataset, which Athena reads, over committed files only.

What a table should show is in the ledger, what it shows is too, and a refresh makes up the difference. A partition's
list of files is replaced by one PUT, and a new partition is added once its list is there. So a refresh that is killed
leaves lists that each show a commit as it was, and the next one goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lake_pipeline.aws import client
from lake_pipeline.catalog import athena
from lake_pipeline.catalog.committed import awaited_files
from lake_pipeline.catalog.contract import Answer
from lake_pipeline.catalog.glue_api import (
    add_partitions,
    delete_partitions,
    find_table,
    glue_errors,
    replace_table,
    settle_table,
)
from lake_pipeline.catalog.glue_tables import (
    Document,
    emptied,
    extract_input,
    has_view,
    partition_input,
    refuse_foreign,
    shows_partitions,
    table_input,
)
from lake_pipeline.catalog.glue_view import settle_view
from lake_pipeline.catalog.hive import partition_values
from lake_pipeline.catalog.projection import outside
from lake_pipeline.catalog.symlinks import FILE, listing, partition_folder
from lake_pipeline.dataset import Dataset
from lake_pipeline.kernel.quoting import literal
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import OutputFile, ShownPartition
from lake_pipeline.published import arrow_schema, count_rows
from lake_pipeline.settings import Settings
from lake_pipeline.store import batched

_log = logging.getLogger(__name__)
_CONCURRENCY = 32
# So many partitions are shown, then recorded as shown.
_AT_ONCE = 1000


def refresh(lake: Lake, dataset: Dataset) -> None:
    """Bring a dataset's table up to the ledger.

    Raises:
        CatalogError: AWS refused.
        CatalogConflict: the table is someone else's, or was changed by someone so that its rows cannot be read.
    """
    if not lake.schema(dataset.name).version:
        return
    with glue_errors(dataset.name), lake.ledger.catalogue_lock(dataset.name):
        glue, database = client("glue"), lake.settings.glue_database
        # Inside the lock, so that the last to write has seen the newest commit.
        mark, wanted = _mark(lake, dataset), _wanted(lake, dataset)
        if not shows_partitions(find_table(glue, database, wanted["Name"]), wanted):
            lake.ledger.forget_catalogue(dataset.name)
        table = settle_table(glue, database, wanted)
        awaited = awaited_files(lake, dataset)
        changed = lake.ledger.changed_partitions(dataset.name, len(wanted["PartitionKeys"]), awaited)
        for page in batched(changed, _AT_ONCE):
            _show(lake, dataset, glue, table, page)
            lake.ledger.record_partitions(dataset.name, page)
        if has_view(dataset) and (
            _definition(lake.ledger.catalogue_mark(dataset.name)) != _definition(mark)
            or find_table(glue, database, dataset.name) is None
        ):
            settle_view(glue, lake.settings, dataset, lake.schema(dataset.name), wanted)
        lake.ledger.record_catalogue_mark(dataset.name, mark)
    for partition in outside(dataset.output, (item.partition for item in changed if item.files)):
        _log.warning("%s: output.projection does not hold %s, so Athena does not see its rows", dataset.name, partition)


def is_stale(lake: Lake, dataset: Dataset) -> bool:
    """Whether the ledger says that the table shows another commit or another declaration; AWS is not asked."""
    return bool(lake.schema(dataset.name).version) and (
        lake.ledger.catalogue_mark(dataset.name) != _mark(lake, dataset)
    )


def refresh_if_stale(lake: Lake, dataset: Dataset) -> None:
    """Refresh where a process was killed between a commit and the table that shows it, or the declaration changed."""
    if is_stale(lake, dataset):
        refresh(lake, dataset)


def table_uri(settings: Settings, dataset: Dataset) -> str:
    """Where the table is, for a person."""
    return f"glue://{settings.glue_database}/{dataset.name}"


def write_select(lake: Lake, dataset: Dataset, sql: str, folder: str) -> list[OutputFile]:  # noqa: ARG001 - the contract's
    """Write the rows by Athena's UNLOAD into a new folder of the store; without rows, no file.

    Raises:
        QueryError: Athena refused the SQL or failed; the message is its reason.
    """
    target = literal(f"{lake.settings.store_url}/{folder}")
    query_text = sql.rstrip().rstrip(";")
    options = "format = 'PARQUET', compression = 'ZSTD'"
    athena.execute(lake.settings, f"UNLOAD (\n{query_text}\n) TO {target} WITH ({options})")
    files = [item for page in lake.store.list(folder) for item in page]
    return [OutputFile(item.key, count_rows(lake.store, [item.key]), item.size) for item in files]


def show_extract(lake: Lake, table: str, files: list[str]) -> None:
    """Make an extract's folder of files a table. Without files it keeps its columns, and there is none the first time.

    Raises:
        CatalogError: AWS refused.
        ExtractFailed: a column has a type that Athena has not.
    """
    with glue_errors(table):
        glue, database = client("glue"), lake.settings.glue_database
        if files:
            folder = f"{lake.store.uri(files[0].rpartition('/')[0])}/"
            replace_table(glue, database, extract_input(table, arrow_schema(lake.store, files[0]), folder))
        elif (shown := find_table(glue, database, table)) is not None:
            refuse_foreign(shown, table)
            replace_table(glue, database, emptied(shown, lake.settings.store_url))


def query(settings: Settings, sql: str) -> Answer:
    """Ask the tables through Athena; the rows are streamed.

    Raises:
        QueryError: Athena refused the query or failed; the message is its reason. Rows may raise it too.
    """
    return athena.query(settings, sql)


def _wanted(lake: Lake, dataset: Dataset) -> Document:
    return table_input(dataset, lake.schema(dataset.name), lake.settings.store_url)


def _mark(lake: Lake, dataset: Dataset) -> str:
    """The last commit, and a hash of what the table is to be and where."""
    rule = dataset.transform.deduplicate
    definition = [lake.settings.glue_database, _wanted(lake, dataset), rule and rule.model_dump(mode="json")]
    digest = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()
    return f"{lake.ledger.commit_mark(dataset.name)}#{digest[:16]}"


def _definition(mark: str) -> str:
    return mark.rpartition("#")[2]


def _show(lake: Lake, dataset: Dataset, glue: Any, table: Document, partitions: list[ShownPartition]) -> None:
    """Make the catalogue show these partitions as they are wanted."""
    looked_up = bool(table["PartitionKeys"]) and dataset.output.projection is None
    gone = [item for item in partitions if not item.files]
    if looked_up:
        values = [partition_values(item.partition) for item in gone]
        delete_partitions(glue, lake.settings.glue_database, table["Name"], values)
    lake.store.delete(_list_key(dataset, item) for item in gone)

    def put(item: ShownPartition) -> None:
        lake.store.put(_list_key(dataset, item), listing(lake.settings.store_url, item.files))

    shown = [item for item in partitions if item.files]
    with ThreadPoolExecutor(_CONCURRENCY) as pool:
        list(pool.map(put, shown))
    if looked_up:
        new = [
            partition_input(table, dataset.name, item.partition, lake.settings.store_url)
            for item in shown
            if not item.is_shown
        ]
        add_partitions(glue, lake.settings.glue_database, table["Name"], new)


def _list_key(dataset: Dataset, item: ShownPartition) -> str:
    return f"{partition_folder(dataset.name, item.partition)}{FILE}"
