"""Every failpoint once: a worker is killed, fails or freezes there, and a plain run ends what it had begun."""

from __future__ import annotations

import ast
import os
import signal
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import psycopg
import pytest

import lake_pipeline
from lake_pipeline import failpoints
from lake_pipeline.defs.running import Progress, run_datasets
from lake_pipeline.discovery.bucket import LakeBucket
from lake_pipeline.discovery.events import Receiver
from lake_pipeline.discovery.queue import Queue
from lake_pipeline.errors import LakeError, LedgerError, SettingsError, StoreError
from lake_pipeline.failpoints import POINTS, failpoint, parse
from lake_pipeline.lake import Lake
from lake_pipeline.rebuild.dataset import rebuild_dataset
from lake_pipeline_tests.aws import Arrivals, arrivals
from lake_pipeline_tests.failing import Step, armed, work, worker
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, states, stored
from lake_pipeline_tests.test_yellow_tripdata import parquet
from lake_pipeline_tests.waiting import until

MANIFEST = "2026-week07.0001"
ONE_TO_ONE: dict[str, Any] = {
    **EVENTS,
    "source": {"prefix": "raw/", "format": "parquet", "group": "{year}/{week}/"},
    "output": {"prefix": "curated/", "format": "json", "files": "one_to_one"},
}
BY_QUEUE = ("discovery.received", "discovery.told")
# Walked by test_cli_erase.py, test_erasing.py and test_importing.py.
BY_REQUEST = ("erase.", "import.")
ONLY_ON_S3 = ("archive.copied",)
BY_ENGINE = ("staging.begun", "staging.written", "staging.ended")
CASES = [
    (point, kind)
    for point, kind in product(POINTS, ("directory", "s3"))
    if point not in BY_QUEUE and not point.startswith(BY_REQUEST) and (kind == "s3" or point not in ONLY_ON_S3)
]
# On S3 a request costs ten times what a file does.
FAILURES = [
    pytest.param(point, kind, action, marks=[pytest.mark.slow] if kind == "s3" else [])
    for (point, kind), action in product(CASES, ("store", "ledger"))
]


@pytest.fixture
def lake(
    point: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, store_url: str
) -> Iterator[Lake]:
    """A lake where the point is ahead: two files that are read, one of them with a record that cannot be, and no file.

    What is cleaned is left of a commit before; what is requeued or rebuilt was committed.
    """
    declaration = ONE_TO_ONE if point.startswith("release.") else EVENTS
    with lake_of(monkeypatch, tmp_path, database_url, declaration, store=store_url) as opened:
        land_files(opened)
        if point.startswith(("clean.", "requeue.", "rebuild.")):
            work(opened)
        if point.startswith("clean."):
            requeue(opened)
        yield opened


def land_files(lake: Lake) -> None:
    a, b, c = names(lake)
    if is_one_to_one(lake):
        lake.store.put(f"raw/{a}", parquet(id=["e1", "e2"]))
        lake.store.put(f"raw/{b}", parquet(id=["e3"]))
    else:
        land(lake, f"raw/{a}", event(1), event(2, mode="car"))
        land(lake, f"raw/{b}", event(3), "no JSON")
    lake.store.put(f"raw/{c}", b"\x89PNG\r\n\x1a\n\x00\x00")


def is_one_to_one(lake: Lake) -> bool:
    return lake.datasets["events"].output.files == "one_to_one"


def names(lake: Lake) -> list[str]:
    """The three files below the prefix."""
    return [f"2026/week07/{name}.{lake.datasets['events'].source.format}" for name in "abc"]


def requeue(lake: Lake) -> None:
    lake.ledger.requeue("events", key=f"raw/{names(lake)[0]}")


def rebuild(lake: Lake) -> None:
    rebuild_dataset(lake, lake.datasets["events"])


def drain(lake: Lake) -> None:
    """Take the queue's messages; one that is not deleted comes again in a second."""
    queue, bucket = Queue(os.environ["LAKE_EVENTS_QUEUE"]), LakeBucket.of(lake.settings.store_url, "the queue")
    datasets = tuple(lake.datasets.values())
    Receiver(queue, bucket, datasets, lake.store, lake.ledger, visibility=1).drain(seconds=1)


def way_to(point: str, action: str) -> tuple[Step, str]:
    """The step that comes to a point, and LAKE_FAILPOINTS for what is to happen there."""
    # An attempt fails where its store does.
    before = "attempt.converted=store," if point == "fail.failing" else ""
    step = {"requeue": requeue, "rebuild": rebuild}.get(point.partition(".")[0], work)
    return step, f"{before}{point}={action}"


def run_out(database_url: str) -> None:
    """What the server and the clock do to who stands still: its open transaction is undone, and its lease runs out."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state = 'idle in transaction'"
        )
        connection.execute("UPDATE lake.manifests SET lease_expires_at = now() WHERE state = 'RUNNING'")


def check_all_is_done(lake: Lake) -> None:
    """Every file is in its state and its place, every row is in the table once, and nothing else is left anywhere."""
    a, b, c = names(lake)
    assert states(lake) == {f"raw/{a}": "SUCCEEDED", f"raw/{b}": "SUCCEEDED", f"raw/{c}": "QUARANTINED"}
    assert rows(lake, "select id from events order by id") == [("e1",), ("e2",), ("e3",)]
    assert stored(lake, "raw/") == []
    assert stored(lake, "archive/") == [f"archive/{a}", f"archive/{b}"]
    assert stored(lake, "quarantine/events/files/") == [f"quarantine/events/files/{c}"]
    documents = [key for _, key, _ in lake.ledger.records_aside("events")]
    assert len(documents) == (0 if is_one_to_one(lake) else 1)
    assert stored(lake, "quarantine/events/records/") == documents
    assert stored(lake, "_staging/") == []
    assert stored(lake, "curated/") == [output.path for output in lake.ledger.committed_outputs("events")]
    assert lake.ledger.leftover_outputs("events") == lake.ledger.unreleased_outputs("events") == []
    (manifest,) = lake.ledger.manifests("events")
    assert (manifest.state, manifest.lease_expires_at) == ("COMMITTED", None)
    assert lake.ledger.invariant_violations("events") == []
    assert lake.ledger.cursor("events") is None


@pytest.mark.parametrize(("point", "store_kind"), CASES)
def test_a_worker_killed_there_loses_nothing_and_doubles_nothing(lake: Lake, point: str) -> None:
    with worker(*way_to(point, "kill")) as killed:
        assert killed.signal() == signal.SIGKILL
    assert lake.ledger.invariant_violations("events") == []

    work(lake)
    if point == "requeue.changing":
        assert lake.ledger.manifest("events", MANIFEST).attempt == 1, "what was not committed was not requeued"
    check_all_is_done(lake)


@pytest.mark.parametrize(("point", "store_kind", "action"), FAILURES)
def test_what_fails_there_is_made_up_for(lake: Lake, database_url: str, point: str, action: str) -> None:
    step, points = way_to(point, action)
    with armed(points):
        if point == "staging.ended":  # the results tell, not how the engine's process ends
            step(lake)
        else:
            with pytest.raises(LakeError, match=f"failpoint {point}"):
                step(lake)
        assert failpoints._reached[point] == 1
    assert lake.ledger.invariant_violations("events") == []

    run_out(database_url)  # of an attempt that could not say that it failed
    work(lake)
    check_all_is_done(lake)


@pytest.mark.parametrize("point", BY_QUEUE)
@pytest.mark.parametrize("action", ["kill", "store", "ledger"])
def test_messages_are_not_lost_where_their_receiver_ends(
    point: str, action: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, aws: dict[str, str]
) -> None:
    at = arrivals(aws)
    monkeypatch.setenv("LAKE_EVENTS_QUEUE", at.queue)
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS, store=at.store) as lake:
        land_files(lake)
        end_receiver(lake, f"{point}={action}")
        known = 3 if point == "discovery.told" else 0
        assert (len(states(lake)), at.left()) == (known, 3)

        until(lambda: drained(lake, at))
        assert set(states(lake).values()) == {"PENDING"}
        work(lake)
        check_all_is_done(lake)


def end_receiver(lake: Lake, points: str) -> None:
    if points.endswith("=kill"):
        with worker(drain, points) as killed:
            killed.process.join()
        return
    with armed(points), pytest.raises((StoreError, LedgerError), match="failpoint"):
        drain(lake)


def drained(lake: Lake, at: Arrivals) -> bool:
    drain(lake)
    return at.left() == 0


@pytest.mark.parametrize("store_kind", ["directory", pytest.param("s3", marks=pytest.mark.slow)])
@pytest.mark.parametrize("point", BY_ENGINE)
def test_a_run_whose_engine_is_killed_there_tries_again(
    lake: Lake, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's process, which a run starts for each attempt, dies of it; the run does not."""
    monkeypatch.setenv(failpoints.VARIABLE, f"{point}=kill")

    def disarm_after_a_failure(told: Progress) -> None:
        if told.succeeded is False:
            monkeypatch.delenv(failpoints.VARIABLE)

    ran = run_datasets(lake, [lake.datasets["events"]], disarm_after_a_failure)

    # Where the results are there, nobody asks how the process ended.
    assert ran == (1 if point == "staging.ended" else 2)
    check_all_is_done(lake)


# What it says when it wakes: after its own commit it has nothing more to lose.
WOKE = {
    "attempt.begun": "LeaseLost: Another attempt of this manifest has taken over",
    "publish.published": "LeaseLost: Another attempt of this manifest has taken over",
    "commit.committing": "LeaseLost: Another attempt of this manifest has taken over",
    "archive.moved": "",
}


@pytest.mark.parametrize("point", WOKE)
def test_a_worker_that_wakes_after_another_took_over_changes_nothing(lake: Lake, point: str, database_url: str) -> None:
    with worker(*way_to(point, "freeze")) as frozen:
        frozen.froze()
        run_out(database_url)
        work(lake)
        check_all_is_done(lake)

        frozen.thaw()
        said = frozen.ended()
    assert said.startswith(WOKE[point])
    assert bool(said) == bool(WOKE[point])
    check_all_is_done(lake)


def test_every_point_is_in_the_code_and_no_other() -> None:
    package = Path(lake_pipeline.__file__).parent
    calls = [
        node.args[0]
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failpoint"
    ]
    names = {call.value for call in calls if isinstance(call, ast.Constant)}
    assert len([call for call in calls if not isinstance(call, ast.Constant)]) == 0
    assert names == set(POINTS)


def test_points_are_read_with_what_happens_there_and_when() -> None:
    assert parse("") == {}
    assert parse("attempt.begun=kill") == {"attempt.begun": ("kill", 1)}
    assert parse(" publish.copied=store@3,\narchive.moved=freeze, ") == {
        "publish.copied": ("store", 3),
        "archive.moved": ("freeze", 1),
    }


@pytest.mark.parametrize(
    "text",
    [
        "attempt.begun",
        "attempt.begun=",
        "attempt.begun=pause",
        "attempt=kill",
        "=kill",
        "kill",
        "attempt.begun=kill@0",
        "attempt.begun=kill@-1",
        "attempt.begun=kill@soon",
        "attempt.begun=kill;archive.moved=kill",
    ],
)
def test_what_is_no_point_or_action_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(
        SettingsError, match=r"LAKE_FAILPOINTS=.* is not POINT=ACTION\[@N\], with an action of kill, freeze"
    ):
        parse(text)


@pytest.mark.parametrize(("action", "error"), [("store", StoreError), ("ledger", LedgerError)])
def test_a_point_fails_at_its_turn_and_at_no_other(action: str, error: type[LakeError]) -> None:
    with armed(f"attempt.begun={action}@2"):
        failpoint("attempt.begun")
        failpoint("attempt.converted")
        with pytest.raises(error, match=r"failpoint attempt\.begun"):
            failpoint("attempt.begun")
        failpoint("attempt.begun")


def test_without_the_variable_nothing_happens_and_nothing_is_counted() -> None:
    with armed(""):
        for point in POINTS:
            failpoint(point)
        assert not failpoints._reached
