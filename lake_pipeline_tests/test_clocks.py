"""Workers whose clocks are hours wrong: leases are the database's, so none is stolen, and rows are there once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import psycopg
import pytest

from lake_pipeline_tests.command_line import COMMAND, LakeCommand, lake_command
from lake_pipeline_tests.lakes import EVENTS, event
from lake_pipeline_tests.waiting import until

FAKETIME = shutil.which("faketime")
pytestmark = pytest.mark.skipif(FAKETIME is None, reason="the command faketime is not installed")


@pytest.fixture
def lake(tmp_path: Path, database_url: str) -> LakeCommand:
    """Two files of two records each wait."""
    lake = lake_command(tmp_path / "home", database_url, EVENTS)
    for file in range(2):
        lake.land(f"raw/2026/week07/{file}.json", event(2 * file), event(2 * file + 1, day=file + 2))
    return lake


def start(lake: LakeCommand, shift: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """The command in a process whose clock is wrong by so much."""
    # Waits are for the machine's steady clock, which nobody sets.
    return subprocess.Popen(
        [FAKETIME or "", "-f", shift, *COMMAND, *arguments],
        env=lake.environment | {"FAKETIME_DONT_FAKE_MONOTONIC": "1"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said


def check_whole(lake: LakeCommand, ids: int) -> None:
    counted = lake.json_lines("query", "select count(*) as rows, count(distinct id) as ids from events")
    assert counted == [{"rows": ids, "ids": ids}]
    assert {file["status"] for file in lake.json_lines("files")} <= {"SUCCEEDED", "SUPERSEDED"}
    assert [path for path in (lake.home / "store" / "raw").rglob("*") if path.is_file()] == []


@pytest.mark.slow
@pytest.mark.parametrize("shift", ["-5h", "+5h"])
def test_a_worker_whose_clock_is_hours_wrong_converts_and_replaces_versions(shift: str, lake: LakeCommand) -> None:
    finish(start(lake, shift, "run", "events"))
    check_whole(lake, 4)

    # A new version of a file may bear an older time than the one before.
    lake.land("raw/2026/week07/0.json", event(0), event(1), event(9))
    raw = lake.home / "store" / "raw/2026/week07/0.json"
    os.utime(raw, (raw.stat().st_mtime - 86400,) * 2)
    finish(start(lake, shift, "run", "events"))
    check_whole(lake, 5)


@pytest.mark.slow
@pytest.mark.parametrize(("holder", "other"), [("-5h", "+5h"), ("+5h", "-5h")])
def test_workers_with_clocks_hours_apart_steal_no_lease(holder: str, other: str, lake: LakeCommand) -> None:
    first = start(lake, holder, "run", "events", LAKE_FAILPOINTS="attempt.begun=freeze")
    frozen = psutil.Process(first.pid)
    until(lambda: frozen.status() == psutil.STATUS_STOPPED)
    second = start(lake, other, "run", "events")
    assert second.stdout is not None
    # It sees that another is at work, and waits.
    until(lambda: "waiting" in second.stdout.readline())  # type: ignore[union-attr]
    (manifest,) = attempts(lake)
    assert manifest == ("RUNNING", 1)
    os.kill(first.pid, signal.SIGCONT)

    finish(first)
    finish(second)

    assert attempts(lake) == [("COMMITTED", 1)]
    check_whole(lake, 4)


def attempts(lake: LakeCommand) -> list[tuple[str, int]]:
    with psycopg.connect(lake.variables["LAKE_DATABASE_URL"]) as connection:
        return [(state, attempt) for state, attempt in connection.execute("SELECT state, attempt FROM lake.manifests")]
