"""An old system's table, from wherever it is, on this machine for as long as it is read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb

from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import ImportInvalid, SettingsError
from lake_pipeline.importing.old_files import Columns, Wanted, old_prefixes
from lake_pipeline.importing.old_table import OldTable
from lake_pipeline.importing.sources import relations, table_rows
from lake_pipeline.kernel.quoting import literal
from lake_pipeline.ledger.postgres import import_url
from lake_pipeline.scratch import scratch_folder
from lake_pipeline.settings import Settings

_MEMORY = "512MiB"  # a million rows of a status table are sorted in less; more spill


@dataclass(frozen=True)
class Old:
    """Where the old table is, and how it is read: `source` is a path or URL, None: the table of a database.

    `key_prefix` is what its keys begin with in place of the lake's root, `done` the words for what is done.
    """

    source: str | None
    table: str
    wanted: Wanted
    done: Collection[str]
    key_prefix: str | None


@contextmanager
def loaded(settings: Settings, dataset: Dataset, old: Old) -> Iterator[tuple[OldTable, Columns]]:
    """The table and the columns that were read, as long as the block runs.

    Raises:
        SettingsError: there is neither a source nor LAKE_IMPORT_DATABASE_URL.
        ImportInvalid: the table cannot be read.
    """
    prefixes = old_prefixes(dataset, settings.store_url, old.key_prefix)
    with scratch_folder() as scratch, duckdb.connect(str(scratch / "old.duckdb")) as connection:
        connection.execute(f"SET memory_limit = {literal(_MEMORY)}")
        connection.execute(f"SET temp_directory = {literal(str(scratch / 'spill'))}")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET autoinstall_known_extensions = false")
        table, columns = OldTable(connection, old.done), None
        if old.source is None:
            if settings.import_database_url is None:
                raise SettingsError("name a file, or set LAKE_IMPORT_DATABASE_URL to the old table's database")
            rows = table_rows(import_url(settings), old.table, connection)
            columns = table.add(rows, old.wanted, prefixes)
        else:
            for relation in relations(old.source, connection, scratch):
                columns = table.add(relation, old.wanted, prefixes)
        if columns is None:
            raise ImportInvalid(f"{old.source} has no rows")
        yield table, columns
