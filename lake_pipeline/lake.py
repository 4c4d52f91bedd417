"""The lake at hand: its settings, declarations, store and ledger, opened together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from lake_pipeline.dataset import Dataset
from lake_pipeline.declarations import load_datasets
from lake_pipeline.engines.environment import check_spark
from lake_pipeline.errors import SettingsError, UnknownDataset
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.migrate import migrate
from lake_pipeline.ledger.postgres import database_url, migration_url, revive_embedded
from lake_pipeline.ledger.retrying import patiently
from lake_pipeline.schemas import Schema
from lake_pipeline.settings import Settings
from lake_pipeline.store import Store


@dataclass(frozen=True)
class Lake:
    """Everything that a command or a run works with."""

    settings: Settings
    datasets: dict[str, Dataset]
    store: Store
    ledger: Ledger

    def dataset(self, name: str) -> Dataset:
        """A declared dataset.

        Raises:
            UnknownDataset: there is none of that name.
        """
        try:
            return self.datasets[name]
        except KeyError:
            raise UnknownDataset(f"{name!r}; declared are {', '.join(self.datasets) or 'none'}") from None

    def chosen(self, names: list[str] | None) -> list[Dataset]:
        """The named datasets, or all of them."""
        return [self.dataset(name) for name in names] if names else list(self.datasets.values())

    def schema(self, name: str) -> Schema:
        """The dataset's columns as they are now; version 0 where nothing was converted."""
        known = self.ledger.schema(name)
        return Schema.from_json({"version": known.version, "columns": known.columns} if known else None)


@contextmanager
def open_lake(settings: Settings, *, patience: timedelta = timedelta(0)) -> Iterator[Lake]:
    """Open the store and the ledger, starting the embedded Postgres and migrating where needed.

    A database that does not answer is awaited for as long as `patience`.

    Raises:
        SettingsError: the engine cannot run here, cannot work on that store or lacks a setting, or LAKE_HOME cannot
            be written.
        LedgerError: the database does not answer, or is not one for this release.
    """
    store = Store(settings.store_url, settings.encryption)
    _check_engine(settings, store)
    datasets = load_datasets(settings.datasets)
    with ExitStack() as stack:
        ledger = patiently(lambda: stack.enter_context(_open_ledger(settings)), "opening the ledger", patience)
        yield Lake(settings, datasets, store, ledger)


@contextmanager
def _open_ledger(settings: Settings) -> Iterator[Ledger]:
    try:
        url, owner = database_url(settings), migration_url(settings)
    except OSError as error:
        raise SettingsError(f"LAKE_HOME={settings.home}: {error}") from error
    migrate(url, owner)
    with Ledger.open(url, revive=partial(revive_embedded, settings)) as ledger:
        yield ledger


def _check_engine(settings: Settings, store: Store) -> None:
    if settings.engine == "spark":
        check_spark(settings)
    if settings.engine == "glue" and store.root is not None:
        raise SettingsError(f"LAKE_ENGINE=glue needs LAKE_STORE=s3://bucket[/prefix]: Glue cannot read {store.root}")
    if settings.engine == "glue" and settings.glue_job is None:
        raise SettingsError("LAKE_ENGINE=glue needs LAKE_GLUE_JOB, the Glue job that runs glue_scripts/convert.py")
