"""A ledger that is empty, another's or older than the lake is refused, and after the refusal all is as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from lake_pipeline import failpoints
from lake_pipeline.attempts import run_attempt
from lake_pipeline.defs.running import run_datasets
from lake_pipeline.defs.sensors import arrivals_sensor
from lake_pipeline.discovery.reconcile import reconcile
from lake_pipeline.documents import IDENTITY, mark_key
from lake_pipeline.errors import LedgerError, LedgerMismatch
from lake_pipeline.guard import check_ledger
from lake_pipeline.lake import Lake
from lake_pipeline.progress import finish_interrupted
from lake_pipeline.rebuild.identity import write_documents
from lake_pipeline.replay import plan_replay, replay
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, states, stored
from lake_pipeline_tests.ledgers import convert, copy_of, everything, objects, work

Opens = Callable[[str], AbstractContextManager[Lake]]


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Opens:
    """Opens the lake with the ledger in a database."""
    return lambda url: lake_of(monkeypatch, tmp_path, url, EVENTS)


@pytest.fixture
def opens_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store_url: str) -> Opens:
    """The same, once for each kind of store."""
    return lambda url: lake_of(monkeypatch, tmp_path, url, EVENTS, store=store_url)


@pytest.fixture
def failing_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Has the ledger fail at a failpoint, the first time this process comes there."""

    def arm(point: str) -> None:
        monkeypatch.setenv(failpoints.VARIABLE, f"{point}=ledger")
        failpoints._armed.cache_clear()
        failpoints._reached.clear()

    yield arm
    monkeypatch.delenv(failpoints.VARIABLE, raising=False)
    failpoints._armed.cache_clear()


def converted(lake: Lake, name: str = "a") -> None:
    land(lake, f"raw/2026/week07/{name}.json", event(1), event(2), "no json")
    assert work(lake) == 1


def every_way_in(lake: Lake) -> Iterator[Callable[[], Any]]:
    """Whatever registers, plans, converts, archives or deletes."""
    dataset = lake.datasets["events"]
    yield lambda: run_datasets(lake, [dataset], lambda _: None)
    yield lambda: finish_interrupted(lake, dataset)
    yield lambda: reconcile(lake, dataset)
    yield lambda: arrivals_sensor(dataset)(dg.build_sensor_context(resources={"lake": _Opened(lake)}))
    yield lambda: run_attempt(lake, dataset, "2026-week07.0001", convert)
    yield lambda: work(lake)


class _Opened:
    def __init__(self, lake: Lake) -> None:
        self.lake = lake


def check_refused(lake: Lake, url: str, why: str) -> None:
    """Every way in is refused with the same words, and nothing in store or ledger is another than before."""
    before, there = everything(url), objects(lake)
    for way_in in every_way_in(lake):
        with pytest.raises(LedgerMismatch, match=why):
            way_in()
    assert everything(url) == before
    assert objects(lake) == there


def test_an_empty_ledger_is_refused(opens_both: Opens, database_url: str, empty_database_url: str) -> None:
    with opens_both(database_url) as lake:
        converted(lake)
    with opens_both(empty_database_url) as lake:
        land(lake, "raw/2026/week07/new.json", event(3))
        check_refused(lake, empty_database_url, "and the ledger is empty: restore the newest backup.* `lake rebuild`")


def test_an_older_ledger_is_refused_and_takes_no_newer_output_for_a_leftover(
    opens_both: Opens, database_url: str, postgres_url: str
) -> None:
    with opens_both(database_url) as lake:
        converted(lake)
    with copy_of(postgres_url, database_url) as backup:
        with opens_both(database_url) as lake:
            lake.ledger.requeue("events", manifest="2026-week07.0001")
            assert work(lake) == 1
            converted(lake, "b")
        with opens_both(backup) as lake:
            land(lake, "raw/2026/week07/new.json", event(3))
            check_refused(lake, backup, r"knows 1 changes of events, and the store holds 3, .*restored from a backup")
            with pytest.raises(LedgerMismatch):
                replay(lake, lake.datasets["events"], plan_replay(lake, lake.datasets["events"]))
        with opens_both(database_url) as lake:
            assert work(lake) == 1
            assert len(stored(lake, "archive/")) == 3


def test_the_ledger_of_another_lake_is_refused(
    opens: Opens, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, empty_database_url: str
) -> None:
    (tmp_path / "other").mkdir()
    with lake_of(monkeypatch, tmp_path / "other", empty_database_url) as other:
        converted(other)
        theirs = other.ledger.known_lake()
    with opens(database_url) as lake:
        converted(lake)
    with opens(empty_database_url) as lake:
        assert theirs is not None
        check_refused(lake, empty_database_url, f"is lake .*, and the ledger is of lake {theirs.lake}")


def test_a_ledger_with_commits_is_refused_on_a_store_that_is_empty(
    opens: Opens, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    with opens(database_url) as lake:
        converted(lake)
    (tmp_path / "other").mkdir()
    with lake_of(monkeypatch, tmp_path / "other", database_url) as lake:
        check_refused(lake, database_url, "does not say which lake it is.*point LAKE_STORE at the right one")


def test_what_the_store_says_of_itself_can_be_written_anew_from_the_ledger(opens: Opens, database_url: str) -> None:
    with opens(database_url) as lake:
        converted(lake)
        said = sorted(stored(lake, "_lake/"))
        lake.store.delete_prefix("_lake/")
        with pytest.raises(LedgerMismatch):
            work(lake)

        assert write_documents(lake, list(lake.datasets.values())) == {"events": 1}

        assert sorted(stored(lake, "_lake/")) == said
        assert work(lake) == 0


def test_an_empty_ledger_is_refused_on_what_an_older_release_has_converted(
    opens: Opens, database_url: str, empty_database_url: str
) -> None:
    with opens(database_url) as lake:
        converted(lake)
        lake.store.delete_prefix("_lake/")
    with opens(empty_database_url) as lake:
        check_refused(lake, empty_database_url, r"has been converted before \(manifests/events/2026-week07.0001.json\)")


def test_strangers_files_are_no_reason_to_refuse(opens: Opens, database_url: str) -> None:
    with opens(database_url) as lake:
        lake.store.put("curated/theirs.parquet", b"PAR1")
        lake.store.put("archive/2025/old.json", b"{}")
        lake.store.put("manifests/kubernetes.json", json.dumps({"kind": "Deployment"}).encode())
        converted(lake)
        assert lake.store.exists("curated/theirs.parquet")


def test_a_lake_of_an_older_release_goes_on_and_is_written_down(opens: Opens, database_url: str) -> None:
    with opens(database_url) as lake:
        converted(lake)
        lake.store.delete_prefix("_lake/")
        with psycopg.connect(database_url) as connection:
            connection.execute("DELETE FROM lake.identity")
            connection.execute("DELETE FROM lake.marks")
            connection.execute("UPDATE lake.manifests SET recorded_changes = NULL")

        assert work(lake) == 0

        assert stored(lake, "_lake/commits/") == ["_lake/commits/events/2026-week07.0001/000001.ndjson.gz"]
        assert lake.store.get_json(mark_key("events"))["changes"] == 1
        assert states(lake) == {"raw/2026/week07/a.json": "SUCCEEDED"}


def test_many_who_start_at_once_make_one_lake(opens_both: Opens, database_url: str) -> None:
    with opens_both(database_url) as lake, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: check_ledger(lake, lake.datasets.values()), range(8)))
        known = lake.ledger.known_lake()
        assert known is not None
        assert (known.stored, lake.store.get_json(IDENTITY)["lake"]) == (True, str(known.lake))


def test_a_starter_that_died_before_the_store_was_told_is_no_obstacle(opens: Opens, database_url: str) -> None:
    with opens(database_url) as lake:
        made = lake.ledger.make_lake()
        converted(lake)
        assert lake.store.get_json(IDENTITY)["lake"] == str(made.lake)


@pytest.mark.parametrize("point", ["record.written", "record.recorded", "commit.committed"])
def test_what_was_not_written_down_is_written_by_the_next_pass_before_anything_goes(
    opens: Opens, database_url: str, failing_at: Callable[[str], None], point: str
) -> None:
    with opens(database_url) as lake:
        converted(lake)
        lake.ledger.requeue("events", manifest="2026-week07.0001")
        failing_at(point)
        with pytest.raises(LedgerError, match="failpoint"):
            run_attempt(lake, lake.datasets["events"], "2026-week07.0001", convert)
        # Whatever is lost now, the outputs of the last document are there.
        assert len(stored(lake, "curated/")) == 2

        assert work(lake) == 0

        assert stored(lake, "_lake/commits/") == ["_lake/commits/events/2026-week07.0001/000002.ndjson.gz"]
        assert lake.store.get_json(mark_key("events"))["changes"] == 2
        assert len(stored(lake, "curated/")) == 1
