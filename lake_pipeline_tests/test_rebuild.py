"""A lost ledger made anew from the store: the same rows, and nothing to do."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake_pipeline.discovery.listing import discover
from lake_pipeline.lake import Lake
from lake_pipeline.planning import plan
from lake_pipeline.rebuild.dataset import Rebuilt, rebuild_dataset
from lake_pipeline.rebuild.identity import adopt_store
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, states, stored
from lake_pipeline_tests.ledgers import contents, objects, work

READINGS: dict[str, Any] = {
    "name": "readings",
    "source": {"prefix": "readings/", "format": "parquet"},
    "output": {"prefix": "readings-json/", "format": "json", "files": "one_to_one"},
    "archive": {"action": "move", "prefix": "readings-archive/"},
}
Opens = Callable[[str], AbstractContextManager[Lake]]


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store_url: str) -> Opens:
    """Opens the lake with the ledger in a database."""
    return lambda url: lake_of(monkeypatch, tmp_path, url, EVENTS, READINGS, store=store_url)


@pytest.fixture
def opens_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Opens:
    return lambda url: lake_of(monkeypatch, tmp_path, url, EVENTS)


@pytest.fixture
def lost_url(empty_database_url: str) -> str:
    """Where the ledger is after the one before was lost."""
    return empty_database_url


def land_readings(lake: Lake, name: str, values: list[int]) -> None:
    written = io.BytesIO()
    pq.write_table(pa.table({"value": values}), written)
    lake.store.put(f"readings/{name}.parquet", written.getvalue())


def fail_then_retry(lake: Lake, key: str, *records: dict[str, Any]) -> None:
    """A file that is away while its manifest is converted, and there again for the next one."""
    land(lake, key, *records)
    dataset = lake.datasets["events"]
    discover(dataset, lake.store, lake.ledger)
    plan(dataset, lake.ledger, lake.store, now=datetime.now(UTC), flush=True, max_manifests=10)
    kept = lake.store.get(key)
    if lake.store.root:
        away = lake.store.root / "away"
        (lake.store.root / key).rename(away)
    else:
        lake.store.delete([key])
    dataset_only = Lake(lake.settings, {"events": lake.datasets["events"]}, lake.store, lake.ledger)
    work(dataset_only)
    assert states(lake)[key] == "FAILED"
    if lake.store.root:
        away.rename(lake.store.root / key)
    else:
        lake.store.put(key, kept)
    lake.ledger.requeue("events", key=key)
    work(lake)
    assert states(lake)[key] == "SUCCEEDED"


def eventful(lake: Lake) -> None:
    """Files that succeeded, were set aside whole and in part, superseded, failed, tried again and replayed."""
    land(lake, "raw/2026/week07/a.json", event(1), event(2))
    land(lake, "raw/2026/week07/b.json", event(3), "{not json")
    lake.store.put("raw/2026/week07/c.json", b"\x00\x01 no json at all \xff")
    lake.store.put("raw/2026/week07/d.json", b"\x00\x01 nor this \xff")
    land_readings(lake, "one", [1, 2])
    land_readings(lake, "two", [3])
    work(lake)
    land(lake, "raw/2026/week07/a.json", event(1, mode="car"), event(4), event(5))
    land(lake, "raw/2026/week07/d.json", event(6))
    land_readings(lake, "two", [3, 4])
    work(lake)
    fail_then_retry(lake, "raw/2026/week08/e.json", event(7))
    land(lake, "raw/2026/week08/f.json", event(8, extra=1))
    work(lake)
    lake.ledger.requeue("events", key="raw/2026/week08/f.json")
    lake.ledger.requeue("events", key="raw/2026/week07/c.json")
    work(lake)


def rebuilt(lake: Lake) -> dict[str, Rebuilt]:
    done = {name: rebuild_dataset(lake, dataset) for name, dataset in lake.datasets.items()}
    adopt_store(lake)
    return done


EVERYTHING = "select id, mode, extra, _source_file from events order by id"


def test_a_rebuilt_ledger_says_what_the_lost_one_said_and_nothing_is_left_to_do(
    opens: Opens, database_url: str, lost_url: str
) -> None:
    with opens(database_url) as lake:
        eventful(lake)
        assert set(states(lake).values()) == {"SUCCEEDED", "QUARANTINED"}
        assert "SUPERSEDED" in {file.status for file in lake.ledger.files("events")}
        shown, there = rows(lake, EVERYTHING), objects(lake, but=("_lake/marks/",))
    before = contents(database_url)

    with opens(lost_url) as lake:
        found = rebuilt(lake)
        assert contents(lost_url) == before
        assert {name: each.findings for name, each in found.items()} == {"events": [], "readings": []}
        assert work(lake) == 0
        assert contents(lost_url) == before
        assert objects(lake, but=("_lake/marks/",)) == there
        assert rows(lake, EVERYTHING) == shown

        lake.ledger.requeue("events", key="raw/2026/week07/a.json")
        land(lake, "raw/2026/week07/a.json", event(1), event(9))
        assert work(lake) > 0
        assert [row[0] for row in rows(lake, EVERYTHING)] == ["e1", "e3", "e6", "e7", "e8", "e9"]
