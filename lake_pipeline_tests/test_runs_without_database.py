"""Whole runs whose database goes away in each of their phases: rows once, and every file where it belongs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lake_pipeline.lake import Lake
from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.killing import start_run
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, run, states, stored
from lake_pipeline_tests.postgres_faults import Commit, CutCommit, Outage, PostgresProxy, postgres_proxy
from lake_pipeline_tests.waiting import until

# What the ledger says first in each phase.
PHASES = {
    "discovery": "INSERT INTO lake.file_processing_status",
    "planning": "INSERT INTO lake.manifests",
    "beginning": "SET failures",
    "publishing": "INSERT INTO lake.outputs AS o (dataset, manifest_id, attempt, path, rows, bytes)\n",
    "committing": "SET state = 'COMMITTED'",
    "archiving": "SET archived_key = a.archived_key",
}


@pytest.fixture
def lake(tmp_path: Path, database_url: str) -> LakeCommand:
    """Two files of two records each wait."""
    lake = lake_command(tmp_path / "home", database_url, EVENTS)
    for file in range(2):
        lake.land(f"raw/2026/week07/{file}.json", event(2 * file), event(2 * file + 1, day=file + 2))
    return lake


def check_whole(lake: LakeCommand) -> None:
    counted = lake.json_lines("query", "select count(*) as rows, count(distinct id) as ids from events")
    assert counted == [{"rows": 4, "ids": 4}]
    assert {file["status"] for file in lake.json_lines("files")} == {"SUCCEEDED"}
    store = lake.home / "store"
    assert sorted(path.name for path in (store / "archive").rglob("*.json")) == ["0.json", "1.json"]
    assert [path for path in (store / "raw").rglob("*") if path.is_file()] == []
    assert [path for path in (store / "_staging").rglob("*") if path.is_file()] == []


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, proxy: PostgresProxy) -> Iterator[Lake]:
    """The same in this process, by way of the proxy."""
    with lake_of(monkeypatch, tmp_path, proxy.url, EVENTS) as opened:
        for file in range(2):
            land(opened, f"raw/2026/week07/{file}.json", event(2 * file), event(2 * file + 1, day=file + 2))
        yield opened


@pytest.fixture
def proxy(database_url: str) -> Iterator[PostgresProxy]:
    with postgres_proxy(database_url) as opened:
        yield opened


def check_near(lake: Lake) -> None:
    assert rows(lake, "select count(*), count(distinct id) from events") == [(4, 4)]
    assert set(states(lake).values()) == {"SUCCEEDED"}
    assert stored(lake, "raw/") == []
    assert stored(lake, "_staging/") == []
    assert set(stored(lake, "curated/")) == {output.path for output in lake.ledger.committed_outputs("events")}


# What Dagster says first, of a run that begins, of one that ends, and of an event in between.
SAID_BY_DAGSTER = ("INSERT INTO runs", 'ASSET_MATERIALIZATION\\"', "LOGS_CAPTURED")


def test_z(near: Lake, proxy: PostgresProxy) -> None:
    proxy.faults += [Outage("INSERT INTO runs", 14), Outage("ASSET_MATERIALIZATION", 14), Outage("LOGS_CAPTURED", 14)]
    print(run(near))
    print(near.ledger.manifests("events"))
    check_near(near)
    assert False
