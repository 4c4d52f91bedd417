"""What a catalogue does, and which one a lake has: the contract of `duckdb` and `glue`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from lake_pipeline.dataset import Dataset
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import OutputFile
from lake_pipeline.settings import Settings


@dataclass(frozen=True)
class Answer:
    """A query's column names, its rows as they are streamed, and what it cost, for a person.

    Reading a row may raise QueryError.
    """

    names: list[str]
    rows: Iterator[tuple[Any, ...]]
    cost: str = ""


class Catalog(Protocol):
    """Where readers find the tables. A table shows committed files only, and a commit only as a whole."""

    def refresh(self, lake: Lake, dataset: Dataset) -> None:
        """Bring a dataset's table up to the ledger. May be repeated, and run beside others."""

    def is_stale(self, lake: Lake, dataset: Dataset) -> bool:
        """Whether the table shows another commit than the last."""

    def refresh_if_stale(self, lake: Lake, dataset: Dataset) -> None:
        """Refresh where a process was killed between a commit and the table that shows it."""

    def table_uri(self, settings: Settings, dataset: Dataset) -> str:
        """Where the table is, for a person."""

    def write_select(self, lake: Lake, dataset: Dataset, sql: str, folder: str) -> list[OutputFile]:
        """Write the rows of a SELECT over a dataset's table as Parquet, into a new folder of the store.

        Raises:
            QueryError: it is no SELECT, or it failed; the message says why.
        """

    def show_extract(self, lake: Lake, table: str, files: list[str]) -> None:
        """Make an extract's files (keys in the store) a table, in place of those that it showed before."""

    def query(self, settings: Settings, sql: str) -> Answer:
        """Ask the tables.

        Raises:
            QueryError: the query was refused or failed; the message says why.
        """


def catalog_of(settings: Settings) -> Catalog:
    """The catalogue of LAKE_CATALOG; nothing of the other one is imported."""
    if settings.catalog_kind == "glue":
        from lake_pipeline.catalog import glue

        return glue
    from lake_pipeline.catalog import duckdb

    return duckdb
