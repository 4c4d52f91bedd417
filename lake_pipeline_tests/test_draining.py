"""`lake run` told to stop by real signals: what is under way ends in time or is given back; the next run goes on."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil
import pytest

from lake_pipeline.defs.instance import open_instance
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import ManifestRow
from lake_pipeline_tests.command_line import LakeCommand
from lake_pipeline_tests.failing import work
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, states, stored
from lake_pipeline_tests.waiting import until


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    """Two weeks, so that there is something more to begin."""
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS) as opened:
        land(opened, "raw/2026/week07/a.json", event(1), event(2))
        land(opened, "raw/2026/week08/b.json", event(3))
        yield opened


@contextmanager
def held(lake: Lake, **variables: str) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """`lake run`, and the engine's process of its first attempt, which stands still until it gets SIGCONT."""
    folder, url = str(lake.settings.datasets), str(lake.settings.database_url)
    command = LakeCommand(
        lake.settings.home_dir,
        {"LAKE_DATASETS": folder, "LAKE_DATABASE_URL": url, "LAKE_FAILPOINTS": "staging.begun=freeze"} | variables,
    )
    process = command.start("run")
    try:
        until(lambda: bool(standing(process)))
        yield process, standing(process)[0]
    finally:
        for one in [*standing(process), psutil.Process(process.pid)] if process.poll() is None else []:
            one.kill()
        process.communicate(timeout=30)


def standing(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Its children that are stopped."""
    if process.poll() is not None:
        return []
    return [child for child in psutil.Process(process.pid).children() if child.status() == psutil.STATUS_STOPPED]


def is_pending(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether a signal waits for the process to go on."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    pending = next(line for line in status.splitlines() if line.startswith("ShdPnd:")).split()[1]
    return bool(int(pending, 16) >> (number - 1) & 1)


def end(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """The exit code, and what was said on stderr."""
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors.splitlines()


def manifests(lake: Lake) -> dict[str, ManifestRow]:
    return {manifest.manifest_id: manifest for manifest in lake.ledger.manifests("events")}


def check_next_run_ends_it(lake: Lake) -> None:
    assert lake.ledger.invariant_violations("events") == []
    work(lake)
    assert rows(lake, "select id from events order by id") == [("e1",), ("e2",), ("e3",)]
    assert set(states(lake).values()) == {"SUCCEEDED"}
    assert stored(lake, "raw/") == stored(lake, "_staging/") == []


def test_what_is_under_way_ends_in_its_grace_time_and_nothing_more_is_begun(lake: Lake) -> None:
    with held(lake) as (process, engine):
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        while "told to stop: what is under way may go on for 20 s" not in process.stderr.readline():
            assert process.poll() is None
        engine.send_signal(signal.SIGCONT)
        code, said = end(process)

    assert (code, said[-1]) == (0, "told to stop: 1 files of events left for the next run")
    first, second = manifests(lake).values()
    assert (first.state, first.attempt) == ("COMMITTED", 1)
    assert (second.state, second.attempt) == ("PLANNED", 0)
    assert stored(lake, "archive/") == ["archive/2026/week07/a.json"]
    check_next_run_ends_it(lake)


def test_what_takes_longer_is_given_back_and_counts_as_no_failure(lake: Lake) -> None:
    with held(lake, LAKE_GRACE_SECONDS="0.5") as (process, engine):
        process.send_signal(signal.SIGTERM)
        until(lambda: is_pending(engine, signal.SIGINT))
        engine.send_signal(signal.SIGCONT)
        code, said = end(process)

    assert (code, said[-1]) == (0, "told to stop: 2 files of events left for the next run")
    assert {(row.state, row.failures, row.worker) for row in manifests(lake).values()} == {("PLANNED", 0, None)}
    assert states(lake)["raw/2026/week07/a.json"] == "PENDING"
    check_next_run_ends_it(lake)


def test_who_is_told_twice_does_not_wait_and_gives_back_too(lake: Lake) -> None:
    with held(lake) as (process, engine):
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        while "told to stop" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        until(lambda: is_pending(engine, signal.SIGINT))
        engine.send_signal(signal.SIGCONT)
        code, _ = end(process)

    assert code == 130
    assert {(row.state, row.failures) for row in manifests(lake).values()} == {("PLANNED", 0)}
    check_next_run_ends_it(lake)


def test_a_run_that_someone_cancels_is_a_failure_for_it_may_not_begin_again_without_end(lake: Lake) -> None:
    with held(lake) as (process, engine):
        with open_instance(lake.settings) as instance:
            (run,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            instance.report_run_canceling(run)
        process.send_signal(signal.SIGINT)
        until(lambda: is_pending(engine, signal.SIGINT))
        engine.send_signal(signal.SIGCONT)
        until(lambda: manifests(lake)["2026-week07.0001"].failures == 1)
