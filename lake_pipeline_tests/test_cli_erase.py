"""The commands `lake erase` and `lake erasures`, asked, refused and killed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake_pipeline.discovery.listing import discover
from lake_pipeline.lake import Lake
from lake_pipeline.progress import finish_interrupted
from lake_pipeline_tests.command_line import COMMAND
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, stored
from lake_pipeline_tests.passes import convert

HIS = "user_id = 'x'"
POINTS = ("staged", "copied", "committing", "committed", "raw_copied", "raw_rewritten", "reported")
TRIPS: dict[str, Any] = {
    "name": "trips",
    "source": {"prefix": "raw-trips/", "format": "parquet"},
    "output": {"prefix": "trips/", "format": "json", "files": "one_to_one"},
    "archive": {"action": "move", "prefix": "archive-trips/"},
}


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS, TRIPS) as opened:
        yield opened


def command(*arguments: str, failpoints: str = "") -> subprocess.CompletedProcess[str]:
    """The command on the lake that this process's environment describes, without a terminal."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=os.environ | {"LAKE_FAILPOINTS": failpoints},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def archived(lake: Lake, name: str) -> bytes:
    """What the archive holds for a raw file of trips."""
    [file] = [file for file in lake.ledger.files("trips", key=f"raw-trips/{name}") if file.status == "SUCCEEDED"]
    assert file.archived_key is not None
    return lake.store.get(file.archived_key)


def table(lake: Lake) -> Counter[tuple[Any, ...]]:
    return Counter(rows(lake, "select id, user_id, _source_file from events"))


def test_killed_at_every_step_it_is_finished_by_the_same_command(lake: Lake) -> None:
    for week in range(4):
        land(lake, f"raw/2026/week0{week}/a.json", *(event(week * 9 + n, user_id="xy"[n % 2]) for n in range(9)))
    convert(lake)
    whole, dataset = table(lake), lake.datasets["events"]
    left = Counter({row: count for row, count in whole.items() if row[1] != "x"})

    for point in POINTS:
        done = command("erase", "events", "--where", HIS, "--raw", "--yes", failpoints=f"erase.{point}=kill")
        assert done.returncode == -signal.SIGKILL, (point, done.stderr)
        finish_interrupted(lake, dataset)
        now = table(lake)
        for week in range(4):
            of_week = {row: count for row, count in now.items() if f"week0{week}" in row[2]}
            assert of_week in [
                {row: n for row, n in all_.items() if f"week0{week}" in row[2]} for all_ in (whole, left)
            ]
    done = command("erase", "events", "--where", HIS, "--raw", "--json")

    ended = json.loads(done.stdout)
    assert (done.returncode, ended["rows_erased"]) == (0, 20)
    assert table(lake) == left
    archive = [lake.store.get(key) for key in stored(lake, "archive/")]
    assert len(archive) == 4
    assert not any(b'"x"' in content for content in archive)
    assert stored(lake, "_staging/") == []
    assert sorted(stored(lake, "curated/")) == [output.path for output in lake.ledger.committed_outputs("events")]
    assert {lake.ledger.manifest("events", f"2026-week0{week}.0001").state for week in range(4)} == {"COMMITTED"}
    assert discover(dataset, lake.store, lake.ledger).new == 0
    lake.ledger.requeue("events", status="SUCCEEDED")
    convert(lake)
    assert table(lake) == left

    (listed,) = map(json.loads, command("erasures", "events", "--json").stdout.splitlines())
    assert listed == ended
    assert "x" not in listed["predicate_sha256"]
    assert ended["report"] in command("erasures", "events").stdout


def test_what_is_not_sure_is_only_shown_or_refused(lake: Lake) -> None:
    land(lake, "raw/a.json", event(1, user_id="x"), event(2, user_id="y"))
    convert(lake)
    (output,) = lake.ledger.committed_outputs("events")

    shown = command("erase", "events", "--where", HIS, "--dry-run", "--json")
    refused = command("erase", "events", "--where", HIS)
    wrong = command("erase", "events", "--where", "user_id = 'x' OR (SELECT true)", "--yes")

    assert json.loads(shown.stdout) == {
        "dry_run": True,
        "outputs": [{"path": output.path, "rows": 1}],
        "raw_files": ["raw/a.json"],
        "rows": 1,
    }
    assert (refused.returncode, wrong.returncode) == (1, 1)
    assert "--yes" in refused.stderr
    assert "subquery" in wrong.stderr
    assert lake.ledger.erasures("events") == []
    assert lake.ledger.committed_outputs("events") == [output]


def test_lines_of_a_file_that_one_raw_file_became_are_erased_from_it(lake: Lake) -> None:
    amounts = pa.array([1, 2, 3], pa.decimal128(20, 2))
    lake.store.put("raw-trips/a.parquet", parquet(name=["x", "é", None], amount=amounts))
    lake.store.put("raw-trips/b.parquet", parquet(name=["x"], amount=amounts[:1]))
    lake.store.put("raw-trips/c.parquet", parquet(name=["y"], amount=amounts[:1]))
    convert(lake, "trips")
    before = lake.store.get("trips/a.json").splitlines()
    other = lake.store.head("trips/c.json")

    done = command("erase", "trips", "--where", "name = 'x' AND amount = 1", "--yes")

    assert done.returncode == 0, done.stderr
    assert lake.store.get("trips/a.json").splitlines() == before[1:]
    assert lake.store.get("trips/b.json") == b""
    assert lake.store.head("trips/c.json") == other
    assert rows(lake, "select name from trips order by 1") == [("y",), ("é",), (None,)]
    content = {key: lake.store.get(key) for key in stored(lake, "trips/")}
    lake.ledger.requeue("trips", status="SUCCEEDED")
    convert(lake, "trips")
    assert {key: lake.store.get(key) for key in stored(lake, "trips/")} == content

    raw = command("erase", "trips", "--where", "name = 'y'", "--yes", "--raw")

    assert raw.returncode == 0, raw.stderr
    assert lake.store.get("trips/c.json") == b""
    assert rows(lake, "select name from trips order by 1") == [("é",), (None,)]
    assert archived(lake, "c.parquet") == b""
    assert pq.read_table(io.BytesIO(archived(lake, "a.parquet")))["name"].to_pylist() == ["x", "é", None]
