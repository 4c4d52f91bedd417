"""Workers whose clocks are hours wrong: leases are the database's, so none is stolen, and rows are there once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import psutil
import psycopg
import pytest

from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.lakes import EVENTS, event
from lake_pipeline_tests.waiting import until

ROOT = Path(__file__).parents[1]
# Python runs it as it starts, so also in the engine's process.
WRONG_CLOCK = """
import os, time
shift, true = float(os.environ["CLOCK_SHIFT"]), time.time
time.time = lambda: true() + shift
time.time_ns = lambda: int(time.time() * 1e9)
"""
HOURS = 3600
# What these ask a worker's clock for decides nothing that another worker may decide.
CLOCK_READERS = {
    "doctor/clock.py",  # against other clocks, which is what it is for
    "commands/dlq.py",  # how long ago, for a person
    "guard.py",  # when the lake was made, for a person
    "erasure_reports.py",  # when it was verified, for a person
    "discovery/dead_letters.py",  # against the queue's own time, with minutes to spare
    "extracts.py",  # a note in an extract's document
}


@pytest.fixture
def lake(tmp_path: Path, database_url: str) -> LakeCommand:
    """Two files of two records each wait."""
    lake = lake_command(tmp_path / "home", database_url, EVENTS)
    for file in range(2):
        lake.land(f"raw/2026/week07/{file}.json", event(2 * file), event(2 * file + 1, day=file + 2))
    return lake


@pytest.fixture
def wrong_clock(tmp_path: Path) -> Path:
    """A folder that makes Python's clock wrong by CLOCK_SHIFT seconds, if it is on its path."""
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(WRONG_CLOCK)
    return tmp_path / "clock"


def start(lake: LakeCommand, clock: Path, shift: int, **variables: str) -> subprocess.Popen[str]:
    """`lake run` in a process whose clock is wrong by so much."""
    path = os.pathsep.join([str(clock), os.environ.get("PYTHONPATH", "")])
    wrong = {"PYTHONPATH": path, "CLOCK_SHIFT": str(shift)}
    return LakeCommand(lake.home, {**lake.variables, **wrong, **variables}).start("run", "events")


def finish(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said


def check_whole(lake: LakeCommand, ids: int) -> None:
    counted = lake.json_lines("query", "select count(*) as rows, count(distinct id) as ids from events")
    assert counted == [{"rows": ids, "ids": ids}]
    assert {file["status"] for file in lake.json_lines("files")} <= {"SUCCEEDED", "SUPERSEDED"}
    assert [path for path in (lake.home / "store" / "raw").rglob("*") if path.is_file()] == []


@pytest.mark.slow
@pytest.mark.parametrize("shift", [-5 * HOURS, 5 * HOURS])
def test_a_worker_whose_clock_is_hours_wrong_converts_and_replaces_versions(
    shift: int, lake: LakeCommand, wrong_clock: Path
) -> None:
    finish(start(lake, wrong_clock, shift))
    check_whole(lake, 4)

    # A new version of a file may bear an older time than the one before.
    lake.land("raw/2026/week07/0.json", event(0), event(1), event(9))
    raw = lake.home / "store" / "raw/2026/week07/0.json"
    os.utime(raw, (raw.stat().st_mtime - 86400,) * 2)
    finish(start(lake, wrong_clock, shift))
    check_whole(lake, 5)


@pytest.mark.slow
@pytest.mark.parametrize(("holder", "other"), [(-5 * HOURS, 5 * HOURS), (5 * HOURS, -5 * HOURS)])
def test_workers_with_clocks_hours_apart_steal_no_lease(
    holder: int, other: int, lake: LakeCommand, wrong_clock: Path
) -> None:
    first = start(lake, wrong_clock, holder, LAKE_FAILPOINTS="attempt.begun=freeze")
    frozen = psutil.Process(first.pid)
    until(lambda: frozen.status() == psutil.STATUS_STOPPED)
    second = start(lake, wrong_clock, other)
    assert second.stderr is not None
    while "waiting for 1 manifests" not in second.stderr.readline():
        assert second.poll() is None
    assert attempts(lake) == [("RUNNING", 1)]
    os.kill(first.pid, signal.SIGCONT)

    finish(first)
    finish(second)

    assert attempts(lake) == [("COMMITTED", 1)]
    check_whole(lake, 4)


def test_no_decision_that_workers_share_is_by_a_workers_clock() -> None:
    readers = {
        path.relative_to(ROOT / "lake_pipeline").as_posix()
        for path in (ROOT / "lake_pipeline").rglob("*.py")
        if re.search(r"datetime\.now\(|time\.time\(|utcnow\(|\.today\(", path.read_text())
    }
    assert {path for path in readers if not path.startswith("aws_local/")} == CLOCK_READERS


def attempts(lake: LakeCommand) -> list[tuple[str, int]]:
    with psycopg.connect(lake.variables["LAKE_DATABASE_URL"]) as connection:
        return [(state, attempt) for state, attempt in connection.execute("SELECT state, attempt FROM lake.manifests")]
