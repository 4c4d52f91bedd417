"""A lake of a test's own, and what tests look for in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from lake_pipeline.catalog.contract import catalog_of
from lake_pipeline.defs.running import run_datasets
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.settings import load_settings

EVENTS: dict[str, Any] = {
    "name": "events",
    "source": {"prefix": "raw/", "format": "ndjson", "group": "{year}/{week}/"},
    "schema": {"flatten": {"rename": {"DATE": "date", "MODE": "mode"}}},
    "output": {"prefix": "curated/", "partition_by": ["year(date)", "month(date)", "day(date)", "mode"]},
    "checks": {"required": ["id"]},
    "archive": {"action": "move", "prefix": "archive/"},
}


@contextmanager
def lake_of(
    monkeypatch: pytest.MonkeyPatch,
    home: Path,
    database_url: str,
    *declarations: dict[str, Any],
    store: str = "",
    catalog: str = "duckdb",
) -> Iterator[Lake]:
    """An open lake under `home` with these declarations, which this process's environment describes.

    `store` is the store's URL; without one it is a directory under `home`.
    """
    folder = home / "datasets"
    folder.mkdir(exist_ok=True)
    for declaration in declarations or (EVENTS,):
        (folder / f"{declaration['name']}.yaml").write_text(yaml.safe_dump(declaration))
    # Set here so that they are put back, for opening an instance changes them again.
    for name, value in {
        "LAKE_HOME": str(home),
        "LAKE_STORE": store,
        "LAKE_CATALOG": catalog,
        "LAKE_DATASETS": str(folder),
        "LAKE_DATABASE_URL": database_url,
        "LAKE_DAGSTER_DATABASE_URL": "",
        "LAKE_THREADS": "2",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DAGSTER_HOME", "")
    with open_lake(load_settings()) as lake:
        yield lake


def event(number: int, *, day: int = 1, mode: str = "bike", **more: Any) -> dict[str, Any]:
    return {"id": f"e{number}", "DATE": f"2026-02-{day:02d}", "MODE": mode, **more}


def land(lake: Lake, key: str, *records: dict[str, Any] | str) -> None:
    """Put an NDJSON file into the store; a string is a line as it stands."""
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    lake.store.put(key, ("\n".join(lines) + "\n").encode())


def run(lake: Lake) -> int:
    """What `lake run` does; the number of manifests that it ran."""
    return run_datasets(lake, list(lake.datasets.values()), lambda _: None)


def rows(lake: Lake, sql: str) -> list[tuple[Any, ...]]:
    return list(catalog_of(lake.settings).query(lake.settings, sql).rows)


def states(lake: Lake, dataset: str = "events") -> dict[str, str]:
    """State by key."""
    return {file.s3_key: file.status for file in lake.ledger.files(dataset)}


def stored(lake: Lake, prefix: str) -> list[str]:
    """Keys in the store under a prefix."""
    return [item.key for page in lake.store.list(prefix) for item in page]
