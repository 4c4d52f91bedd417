"""A lost ledger made anew from the store: the same rows, and nothing to do."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake_pipeline.attempts import run_attempt
from lake_pipeline.discovery.listing import discover
from lake_pipeline.erasing import begin as begin_erasure
from lake_pipeline.erasing import finish
from lake_pipeline.errors import LakeError, LedgerError, LedgerMismatch
from lake_pipeline.guard import check_ledger
from lake_pipeline.lake import Lake
from lake_pipeline.planning import plan
from lake_pipeline.progress import due_work
from lake_pipeline.rebuild.dataset import Rebuilt, rebuild_dataset
from lake_pipeline.rebuild.identity import adopt_store
from lake_pipeline_tests.failing import armed, convert
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, states, stored
from lake_pipeline_tests.ledgers import contents, copy_of, objects, work

READINGS: dict[str, Any] = {
    "name": "readings",
    "source": {"prefix": "readings/", "format": "parquet"},
    "output": {"prefix": "readings-json/", "format": "json", "files": "one_to_one"},
    "archive": {"action": "move", "prefix": "readings-archive/"},
}
# A file that fails is tried once more, and then left to whoever looks at it.
EVENTS_ONCE: dict[str, Any] = {**EVENTS, "batch": {"max_retries": 1}}
Opens = Callable[[str], AbstractContextManager[Lake]]


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store_url: str) -> Opens:
    """Opens the lake with the ledger in a database."""
    return lambda url: lake_of(monkeypatch, tmp_path, url, EVENTS_ONCE, READINGS, store=store_url)


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
    # A version that cannot be read takes no row away.
    lake.store.put("raw/2026/week07/b.json", b"\x00\x01 no longer json \xff")
    land_readings(lake, "two", [3, 4])
    work(lake)
    assert [file.status for file in lake.ledger.files("events", key="raw/2026/week07/b.json")] == [
        "SUCCEEDED",
        "QUARANTINED",
    ]
    fail_then_retry(lake, "raw/2026/week08/e.json", event(7))
    land(lake, "raw/2026/week08/f.json", event(8, extra=1))
    lake.ledger.requeue("events", key="raw/2026/week08/e.json")
    lake.ledger.requeue("events", key="raw/2026/week07/c.json")
    work(lake)


def begin(lake: Lake, dataset: str) -> None:
    """One attempt at what is due; nothing is done after it."""
    declared = lake.datasets[dataset]
    discover(declared, lake.store, lake.ledger)
    (due,) = due_work(lake, declared, flush=True, limit=1)
    with suppress(LakeError):
        run_attempt(lake, declared, due.manifest_id, convert)


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


@pytest.mark.parametrize("raw", [False, True])
def test_a_rebuilt_ledger_knows_what_was_erased_and_nothing_of_it_comes_back(
    raw: bool, opens_directory: Opens, database_url: str, lost_url: str
) -> None:
    a, b = "raw/2026/week01/a.json", "raw/2026/week01/b.json"
    with opens_directory(database_url) as lake:
        land(lake, a, event(1, mode="car"), event(2))
        land(lake, b, event(3, mode="car"))
        work(lake)
        dataset = lake.datasets["events"]
        assert finish(lake, dataset, begin_erasure(lake, dataset, "mode = 'car'", raw=raw)).rows_erased == 2
        before = lake.ledger.erasures("events")
    files = contents(database_url)

    with opens_directory(lost_url) as lake:
        assert rebuilt(lake)["events"].findings == []
        assert contents(lost_url) == files
        assert lake.ledger.erasures("events")[0].last_file_id <= before[0].last_file_id
        assert [replace(each, last_file_id=0) for each in lake.ledger.erasures("events")] == [
            replace(each, last_file_id=0, ended_at=lake.ledger.erasures("events")[0].ended_at) for each in before
        ]
        # What lands from now on is not concerned.
        land(lake, "raw/2026/week01/c.json", event(4, mode="car"))
        lake.ledger.requeue("events", key=[a, b])
        work(lake)
        assert [row[0] for row in rows(lake, IDS)] == ["e2", "e4"]
        again = begin_erasure(lake, lake.datasets["events"], "id = 'e4'")
        assert again.id > before[0].id


def lake_in(opens: Opens, url: str, *names: str) -> None:
    """A lake with a manifest for each of these files, which hold two events each."""
    with opens(url) as lake:
        for number, name in enumerate(names):
            land(lake, f"raw/2026/week0{number + 1}/{name}.json", event(2 * number), event(2 * number + 1))
        work(lake)


IDS = "select id from events order by id"


def test_a_commit_whose_document_was_not_written_is_made_again_once(
    opens_directory: Opens, database_url: str, lost_url: str
) -> None:
    with opens_directory(database_url) as lake:
        land(lake, "raw/2026/week01/a.json", event(1), event(2))
        with armed("commit.committed=ledger"):
            work(lake)
        assert [row.state for row in lake.ledger.manifests("events")] == ["COMMITTED"]
        assert len(stored(lake, "curated/")) == 1
        land(lake, "raw/2026/week01/b.json", event(3))

    with opens_directory(lost_url) as lake:
        found = rebuilt(lake)["events"]
        assert (found.manifests, found.planned, [each.kind for each in found.findings]) == (1, 1, ["leftover"])
        assert work(lake) == 2
        assert [row[0] for row in rows(lake, IDS)] == ["e1", "e2", "e3"]
        assert set(stored(lake, "curated/")) == {output.path for output in lake.ledger.committed_outputs("events")}
        assert [row.attempt for row in lake.ledger.manifests("events")] == [2, 1]
        assert stored(lake, "raw/") == []


def test_a_replay_whose_document_was_not_written_is_forgotten_and_no_row_with_it(
    opens_directory: Opens, database_url: str, lost_url: str
) -> None:
    lake_in(opens_directory, database_url, "a")
    with opens_directory(database_url) as lake:
        land(lake, "raw/2026/week01/a.json", event(7))
        with armed("commit.committed=ledger"):
            work(lake)
        assert len(stored(lake, "curated/")) == 2

    with opens_directory(lost_url) as lake:
        assert [each.kind for each in rebuilt(lake)["events"].findings] == ["leftover"]
        assert [output.rows for output in lake.ledger.committed_outputs("events")] == [2]
        assert work(lake) == 1
        assert [row[0] for row in rows(lake, IDS)] == ["e7"]
        assert len(stored(lake, "curated/")) == 1


def test_committed_files_that_had_not_got_their_names_yet_get_them(
    opens: Opens, database_url: str, lost_url: str
) -> None:
    with opens(database_url) as lake:
        land_readings(lake, "one", [1, 2])
        work(lake)
        land_readings(lake, "one", [3])
        with armed("release.copied=store"):
            begin(lake, "readings")
    with opens(lost_url) as lake:
        assert rebuilt(lake)["readings"].planned == 0
        assert len(lake.ledger.unreleased_outputs("readings")) == 1
        assert work(lake) == 0
        assert lake.ledger.unreleased_outputs("readings") == []
        assert lake.store.get("readings-json/one.json") == b'{"value":3}\n'


def test_an_output_that_is_gone_or_changed_is_made_again_from_the_archive(
    opens_directory: Opens, database_url: str, lost_url: str
) -> None:
    lake_in(opens_directory, database_url, "a", "b", "c", "d")
    with opens_directory(database_url) as lake:
        gone, cut, other, _ = stored(lake, "curated/")
        lake.store.delete([gone])
        lake.store.put(cut, lake.store.get(cut)[:-10])
        lake.store.put(other, bytes(len(lake.store.get(other))))

    with opens_directory(lost_url) as lake:
        found = rebuilt(lake)["events"]
        kinds = {each.kind: each.examples for each in found.findings}
        assert kinds == {"output_missing": [gone], "output_differs": [cut, other]}
        assert (found.manifests, found.planned, found.outputs, found.rows) == (4, 3, 1, 2)
        assert work(lake) == 3
        assert [row[0] for row in rows(lake, IDS)] == [f"e{number}" for number in range(8)]
        assert {cut, other} <= set(stored(lake, "curated/")), "what is not ours any more is left alone"


def test_a_damaged_document_costs_a_conversion_and_no_row(
    opens_directory: Opens, database_url: str, lost_url: str
) -> None:
    lake_in(opens_directory, database_url, "a", "b")
    with opens_directory(database_url) as lake:
        emptied, cut = stored(lake, "_lake/commits/")
        lake.store.put(emptied, b"")
        lake.store.put(cut, lake.store.get(cut)[:-30])

    with opens_directory(lost_url) as lake:
        found = rebuilt(lake)["events"]
        assert {each.kind: each.count for each in found.findings} == {"leftover": 2, "document_damaged": 2}
        assert found.planned == 2
        assert work(lake) == 2
        assert [row[0] for row in rows(lake, IDS)] == ["e0", "e1", "e2", "e3"]
        # The documents written since are the ones that count.
        before = contents(lost_url)
        assert rebuilt(lake)["events"].findings == []
        assert contents(lost_url) == before


def test_without_documents_and_raw_files_the_outputs_themselves_tell(
    opens_directory: Opens, database_url: str, lost_url: str
) -> None:
    lake_in(opens_directory, database_url, "a", "b")
    with opens_directory(database_url) as lake:
        lake.store.delete_prefix("_lake/commits/")
        lake.store.delete(["archive/2026/week01/a.json"])

    with opens_directory(lost_url) as lake:
        found = rebuilt(lake)["events"]
        assert (found.planned, [each.kind for each in found.findings]) == (1, ["raw_missing", "leftover"])
        file = next(file for file in lake.ledger.files("events") if file.s3_key.endswith("a.json"))
        assert (file.status, file.rows_written, file.rows_read) == ("SUCCEEDED", 2, None)
        assert work(lake) == 1
        assert [row[0] for row in rows(lake, IDS)] == ["e0", "e1", "e2", "e3"]


def test_what_no_document_tells_of_is_reported(opens_directory: Opens, database_url: str, lost_url: str) -> None:
    lake_in(opens_directory, database_url, "a")
    with opens_directory(database_url) as lake:
        lake.store.put("archive/2026/week01/other.json", b"{}")
        lake.store.put("curated/year=2026/historical.0009-a1-0.parquet", b"PAR1")
        lake.store.delete_prefix("_lake/schemas/")

    with opens_directory(lost_url) as lake:
        kinds = {each.kind: each.count for each in rebuilt(lake)["events"].findings}
        assert kinds == {"unaccounted": 1, "unresolved": 1, "schema_missing": 1}


def test_one_dataset_is_rebuilt_beside_another_whose_files_have_its_numbers(
    opens: Opens, database_url: str, lost_url: str
) -> None:
    with opens(database_url) as lake:
        land(lake, "raw/2026/week01/a.json", event(1))
        work(lake)
        land(lake, "raw/2026/week01/a.json", event(2))
        work(lake)
        lake.store.delete_prefix("_lake/commits/readings/")
        land_readings(lake, "one", [1, 2])
        before = {file.etag: file.status for file in lake.ledger.files("events")}
    with opens(lost_url) as lake:
        discover(lake.datasets["readings"], lake.store, lake.ledger)
        rebuild_dataset(lake, lake.datasets["events"])
        adopt_store(lake)
        assert {file.etag: file.status for file in lake.ledger.files("events")} == before
        ids = [file.id for name in lake.datasets for file in lake.ledger.files(name)]
        assert len(set(ids)) == 3
        assert work(lake) == 1
        # What was numbered anew is written down anew.
        rebuilt(lake)
        assert {file.id for name in lake.datasets for file in lake.ledger.files(name)} == set(ids)


def test_an_older_ledger_is_brought_up_to_the_lake(
    opens_directory: Opens, database_url: str, postgres_url: str
) -> None:
    lake_in(opens_directory, database_url, "a")
    with copy_of(postgres_url, database_url) as backup:
        lake_in(opens_directory, database_url, "c", "b")
        before = contents(database_url)
        with opens_directory(backup) as lake:
            assert rebuild_dataset(lake, lake.datasets["events"], dry_run=True).manifests == 3
            assert [row.manifest_id for row in lake.ledger.manifests("events")] == ["2026-week01.0001"]
            with pytest.raises(LedgerMismatch):
                work(lake)
            assert rebuilt(lake)["events"].findings == []
            assert contents(backup) == before
            assert work(lake) == 0


def test_planned_manifests_and_files_that_wait_go_on(opens_directory: Opens, database_url: str, lost_url: str) -> None:
    with opens_directory(database_url) as lake:
        dataset = lake.datasets["events"]
        check_ledger(lake, [dataset])
        land(lake, "raw/2026/week01/a.json", event(1))
        discover(dataset, lake.store, lake.ledger)
        plan(dataset, lake.ledger, lake.store, now=datetime.now(UTC), flush=True, max_manifests=1)
        land(lake, "raw/2026/week02/b.json", event(2))
    with opens_directory(lost_url) as lake:
        assert rebuilt(lake)["events"].planned == 1
        assert work(lake) == 2
        assert [row.manifest_id for row in lake.ledger.manifests("events")] == ["2026-week01.0001", "2026-week02.0001"]
        assert [row[0] for row in rows(lake, IDS)] == ["e1", "e2"]


def test_a_manifest_under_a_workers_hands_is_not_rebuilt(opens_directory: Opens, database_url: str) -> None:
    lake_in(opens_directory, database_url, "a")
    with opens_directory(database_url) as lake:
        lake.ledger.requeue("events", manifest="2026-week01.0001")
        lake.ledger.begin_attempt("events", "2026-week01.0001", "someone", timedelta(minutes=1))
        with pytest.raises(LedgerError, match=r"2026-week01\.0001 is being converted"):
            rebuilt(lake)
