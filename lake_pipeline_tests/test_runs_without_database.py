"""Whole runs whose database goes away in each of their phases: rows once, and every file where it belongs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lake_pipeline.lake import Lake
from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, run, states, stored
from lake_pipeline_tests.postgres_faults import Commit, CutCommit, Outage, PostgresProxy, postgres_proxy
from lake_pipeline_tests.waiting import until

# What the ledger says first in each phase.
PHASES = {
    "discovery": "INSERT INTO lake.live_files",
    "planning": "INSERT INTO lake.manifests",
    "beginning": "SET failures",
    "publishing": "INSERT INTO lake.outputs AS o (dataset, manifest_id, attempt, path, rows, bytes)\n",
    "committing": "SET state = 'COMMITTED'",
    "archiving": "DELETE FROM lake.live_files",
}


@pytest.fixture
def proxy(database_url: str) -> Iterator[PostgresProxy]:
    """The way to a migrated database; faults are added by the test."""
    with postgres_proxy(database_url) as opened:
        yield opened


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, proxy: PostgresProxy) -> Iterator[Lake]:
    """Two files of two records each wait."""
    with lake_of(monkeypatch, tmp_path, proxy.url, EVENTS) as opened:
        for file in range(2):
            land(opened, f"raw/2026/week07/{file}.json", event(2 * file), event(2 * file + 1, day=file + 2))
        yield opened


def check_whole(lake: Lake) -> None:
    assert rows(lake, "select count(*), count(distinct id) from events") == [(4, 4)]
    assert set(states(lake).values()) == {"SUCCEEDED"}
    assert [(manifest.state, manifest.failures) for manifest in lake.ledger.manifests("events")] == [("COMMITTED", 0)]
    assert stored(lake, "raw/") == []
    assert stored(lake, "archive/") == ["archive/2026/week07/0.json", "archive/2026/week07/1.json"]
    assert stored(lake, "_staging/") == []
    assert set(stored(lake, "curated/")) == {output.path for output in lake.ledger.committed_outputs("events")}


def test_a_run_whose_database_goes_away_in_each_phase_goes_on_when_it_is_back(lake: Lake, proxy: PostgresProxy) -> None:
    proxy.faults += [Outage(said, 0.5) for said in PHASES.values()]
    run(lake)
    check_whole(lake)


@pytest.mark.parametrize("outcome", ["committed", "not committed"])
def test_a_run_each_of_whose_commits_gets_no_answer_does_everything_once(
    outcome: Commit, lake: Lake, proxy: PostgresProxy
) -> None:
    proxy.faults += [CutCommit(said, outcome) for said in PHASES.values()]
    run(lake)
    check_whole(lake)


@pytest.mark.slow
def test_a_run_that_dagster_cannot_record_is_in_the_ledger_all_the_same(lake: Lake, proxy: PostgresProxy) -> None:
    # Longer than Dagster tries: as it begins a run, and as it tells of rows that are committed.
    proxy.faults += [Outage("INSERT INTO runs", 20), Outage("Materialized value events curated", 20)]
    run(lake)
    check_whole(lake)


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
def test_a_run_whose_database_is_away_for_a_minute_ends_right(phase: str, lake: Lake, proxy: PostgresProxy) -> None:
    proxy.faults.append(Outage(PHASES[phase], 60))
    run(lake)
    check_whole(lake)


@pytest.mark.slow
def test_a_run_whose_database_stays_away_ends_with_one_line_and_the_next_one_finishes(
    tmp_path: Path, database_url: str
) -> None:
    lake = lake_command(tmp_path / "home", database_url, EVENTS)
    lake.land("raw/2026/week07/a.json", event(1), event(2))
    with postgres_proxy(database_url, Outage(PHASES["discovery"], 3600)) as proxy:
        away = LakeCommand(lake.home, {**lake.variables, "LAKE_DATABASE_URL": proxy.url})
        failed = away.start("run", "events")
        _, said = failed.communicate(timeout=400)
    assert failed.returncode == 1
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("error: The ledger's database does not answer: ")

    lake("run", "events")

    assert lake.json_lines("query", "select count(*) as rows, count(distinct id) as ids from events") == [
        {"rows": 2, "ids": 2}
    ]


@pytest.mark.slow
def test_an_embedded_postgres_that_was_killed_is_started_again_by_the_run_that_needs_it(short_dir: Path) -> None:
    lake = lake_command(short_dir / "home", "", EVENTS)
    lake.land("raw/2026/week07/a.json", event(1), event(2))
    frozen = LakeCommand(lake.home, {**lake.variables, "LAKE_FAILPOINTS": "attempt.begun=freeze"})
    with frozen.start("run", "events") as started:
        until(lambda: psutil.Process(started.pid).status() == psutil.STATUS_STOPPED)
        postmaster = int((lake.home / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, signal.SIGKILL)
        os.kill(started.pid, signal.SIGCONT)
        _, said = started.communicate(timeout=120)
    assert started.returncode == 0, said

    assert lake.json_lines("query", "select count(*) as rows, count(distinct id) as ids from events") == [
        {"rows": 2, "ids": 2}
    ]
    assert [file["status"] for file in lake.json_lines("files")] == ["SUCCEEDED"]
