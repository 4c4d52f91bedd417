"""A schema over time: manifests that change it at once, and readers who see no column's type change."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lake_pipeline.attempts import run_attempt
from lake_pipeline.discovery.listing import discover
from lake_pipeline.engines.run import run_task
from lake_pipeline.engines.task import Task
from lake_pipeline.lake import Lake
from lake_pipeline.planning import plan
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, run, states, stored


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS) as opened:
        yield opened


def types_in_files(lake: Lake) -> dict[str, set[str]]:
    """The types that a column has in the table's files."""
    assert lake.store.root is not None
    found: dict[str, set[str]] = {}
    for path in stored(lake, "curated/"):
        for field in pq.read_schema(lake.store.root / path):
            found.setdefault(field.name, set()).add(str(field.type))
    return found


def in_this_process(task: Task) -> None:
    """An engine without Dagster."""
    run_task(task, lambda _: None)


def run_in_order(lake: Lake) -> None:
    """Run every manifest that can be planned, one after the other."""
    dataset = lake.dataset("events")
    discover(dataset, lake.store, lake.ledger)
    planned = plan(dataset, lake.ledger, lake.store, now=datetime.now(UTC), flush=True, max_manifests=99)
    for manifest in sorted(planned, key=lambda manifest: manifest.manifest_id):
        run_attempt(lake, dataset, manifest.manifest_id, in_this_process)


def run_at_once(lake: Lake) -> Counter[str]:
    """Run two manifests, both converted before either is committed; how often each was converted."""
    dataset = lake.dataset("events")
    discover(dataset, lake.store, lake.ledger)
    manifests = plan(dataset, lake.ledger, lake.store, now=datetime.now(UTC), flush=True, max_manifests=9)
    assert len(manifests) == 2
    converted: Counter[str] = Counter()
    both = threading.Barrier(2, timeout=60)

    def engine(task: Task) -> None:
        in_this_process(task)
        converted[task.manifest_id] += 1
        if converted[task.manifest_id] == 1:
            both.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda manifest: run_attempt(lake, dataset, manifest.manifest_id, engine), manifests))
    return converted


@pytest.mark.parametrize("known", [False, True], ids=["first", "later"])
def test_two_manifests_evolving_at_once_settle(lake: Lake, known: bool) -> None:
    if known:
        land(lake, "raw/2026/week06/a.json", event(0))
        run(lake)
    land(lake, "raw/2026/week07/a.json", event(1, shared=1, one="l"), event(2, shared=2))
    land(lake, "raw/2026/week08/a.json", event(3, shared="three", other=[1]), event(4, shared="four"))

    converted = run_at_once(lake)

    assert sorted(converted.values()) == [1, 2]
    (loser,) = [manifest for manifest, times in converted.items() if times == 2]
    history = lake.ledger.schema_history("events")
    assert [version.version for version in history] == [1, 2, 3][: 2 + known]
    assert history[-1].manifest_id == loser
    added = {change["column"] for version in history[-2:] for change in version.changes}
    assert {"shared", "one", "other"} <= added
    assert set(states(lake).values()) == {"SUCCEEDED"}
    found = rows(lake, "select id, shared::varchar, one, other, _rescued from events where id <> 'e0' order by id")
    assert [(row[0], row[2], row[3]) for row in found] == [
        ("e1", "l", None),
        ("e2", None, None),
        ("e3", None, [1]),
        ("e4", None, None),
    ]
    values = [row[1] or row[4] for row in found]
    if loser.startswith("2026-week08"):
        assert values == ["1", "2", '{"shared":"three"}', '{"shared":"four"}']
    else:
        assert values == ['{"shared":1}', '{"shared":2}', "three", "four"]
    assert {len(types) for types in types_in_files(lake).values()} == {1}


def test_a_columns_type_never_changes_under_a_reader(lake: Lake) -> None:
    values: list[Any] = [1, 2.5, "text", True, [1], {"a": 1}, 2**70, None]
    for week, value in enumerate(values, 10):
        land(lake, f"raw/2026/week{week}/a.json", event(week, x=value, y=[value], z={"v": value}))
    run_in_order(lake)
    lake.ledger.requeue("events", manifest="2026-week12.0001")
    run(lake)

    types = types_in_files(lake)
    assert {name: found for name, found in types.items() if len(found) > 1} == {}
    assert (types["x"], types["y"], types["z_v"]) == ({"int64"}, {"list<element: int64>"}, {"int64"})
    columns = [{change["column"] for change in version.changes} for version in lake.ledger.schema_history("events")]
    assert sum(map(len, columns)) == len(set().union(*columns)), "no column comes twice"
    assert rows(lake, "select x, y, z_v from events where id = 'e10'") == [(1, [1], 1)]
    (rescued,) = rows(lake, "select _rescued from events where id = 'e12'")
    assert rescued == ('{"x":"text","y":["text"],"z_v":"text"}',)
    assert rows(lake, "select count(*) from events") == [(len(values),)]
