"""A file is replaced: the new version's rows for the old one's, at once, or the old one's rows stay."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lake_pipeline.attempts import run_attempt
from lake_pipeline.catalog.contract import catalog_of
from lake_pipeline.discovery.listing import discover
from lake_pipeline.engines.task import Task
from lake_pipeline.errors import LakeError
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import FileRow
from lake_pipeline.progress import finish_interrupted
from lake_pipeline.replay import plan_replay, replay
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, stored
from lake_pipeline_tests.passes import convert_here, work

A, B = "raw/2026/week07/a.json", "raw/2026/week07/b.json"
MANIFEST = "2026-week07.0001"


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    yield from converted(monkeypatch, tmp_path, database_url, "")


@pytest.fixture
def stored_anywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, store_url: str
) -> Iterator[Lake]:
    yield from converted(monkeypatch, tmp_path, database_url, store_url)


@pytest.fixture
def lake_on_s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, s3_url: str) -> Iterator[Lake]:
    yield from converted(monkeypatch, tmp_path, database_url, s3_url)


def converted(monkeypatch: pytest.MonkeyPatch, home: Path, database_url: str, store: str) -> Iterator[Lake]:
    """Two files that were converted in one manifest, and archived: a with the rows e1 and e2, b with e3."""
    with lake_of(monkeypatch, home, database_url, EVENTS, store=store) as opened:
        land(opened, A, event(1), event(2))
        land(opened, B, event(3))
        assert work(opened) == []
        yield opened


def ids(lake: Lake) -> list[str]:
    return [row[0] for row in rows(lake, "select id from events order by id")]


def versions(lake: Lake, key: str = A) -> list[tuple[str, str | None]]:
    """Status and class of each version of a key, oldest first."""
    return [(file.status, file.error_class) for file in lake.ledger.files("events", key=key)]


def newest(lake: Lake, key: str = A) -> FileRow:
    return list(lake.ledger.files("events", key=key))[-1]


def is_settled(lake: Lake) -> bool:
    """Nothing is left to do, nothing lies in the raw prefix, and the outputs in the store are those committed."""
    done = lake.ledger.pending_work("events", 3).done
    outputs = {output.path for output in lake.ledger.committed_outputs("events")}
    return done and stored(lake, "raw/") == [] and set(stored(lake, "curated/")) == outputs


def register(lake: Lake) -> None:
    discover(lake.datasets["events"], lake.store, lake.ledger)


def test_a_new_version_deleted_before_it_was_read_is_superseded_and_the_old_rows_stay(stored_anywhere: Lake) -> None:
    lake = stored_anywhere
    before = lake.ledger.committed_outputs("events")
    land(lake, A, event(1, mode="car"))
    register(lake)
    lake.store.delete([A])

    assert work(lake) == []

    assert versions(lake) == [("SUCCEEDED", None), ("SUPERSEDED", "ObjectDeleted")]
    assert "was deleted before it was converted; the rows of the version before it stay" in str(
        newest(lake).error_message
    )
    assert ids(lake) == ["e1", "e2", "e3"]
    assert lake.ledger.committed_outputs("events") == before, "nothing else was to be done, so nothing was converted"
    assert is_settled(lake)


def test_a_manifest_with_another_new_version_is_replayed_without_the_one_that_is_gone(stored_anywhere: Lake) -> None:
    lake = stored_anywhere
    land(lake, A, event(9))
    land(lake, B, event(4))
    register(lake)
    lake.store.delete([A])

    assert work(lake) == []

    assert versions(lake) == [("SUCCEEDED", None), ("SUPERSEDED", "ObjectDeleted")]
    assert versions(lake, B) == [("SUPERSEDED", None), ("SUCCEEDED", None)]
    assert ids(lake) == ["e1", "e2", "e4"]
    assert is_settled(lake)


def test_a_new_version_overwritten_by_a_third_before_it_was_read_gives_it_its_place(stored_anywhere: Lake) -> None:
    lake = stored_anywhere
    land(lake, A, event(9))
    register(lake)
    land(lake, A, event(5), event(6))
    assert work(lake) == []
    assert [status for status, _ in versions(lake)] == ["SUPERSEDED", "SUPERSEDED", "SUCCEEDED"]
    assert ids(lake) == ["e3", "e5", "e6"]

    land(lake, A, event(7))
    register(lake)
    land(lake, A, event(8, day=2))  # which nothing has listed when the manifest is begun
    finish_interrupted(lake, lake.datasets["events"])
    while lake.ledger.manifest("events", MANIFEST).state != "COMMITTED":
        with pytest.raises(LakeError, match="the rows of the old ones stay"):
            run_attempt(lake, lake.datasets["events"], MANIFEST, convert_here)
    assert versions(lake)[3] == ("SUPERSEDED", "ObjectChanged")
    assert ids(lake) == ["e3", "e5", "e6"]

    assert work(lake) == []
    assert ids(lake) == ["e3", "e8"]
    assert is_settled(lake)


def test_the_old_versions_own_bytes_come_back_and_it_is_current_again(lake_on_s3: Lake) -> None:
    lake = lake_on_s3
    original = lake.store.get("archive/2026/week07/a.json")
    land(lake, A, event(9))
    register(lake)
    lake.store.put(A, original)
    register(lake)

    assert work(lake) == []

    assert versions(lake) == [("SUCCEEDED", None), ("SUPERSEDED", "ObjectChanged")]
    assert ids(lake) == ["e1", "e2", "e3"]
    assert stored(lake, "archive/") == ["archive/2026/week07/a.json", "archive/2026/week07/b.json"]
    assert work(lake) == []
    assert is_settled(lake)


def test_a_file_uploaded_twice_is_converted_once_and_does_not_stay_in_the_raw_prefix(lake_on_s3: Lake) -> None:
    lake = lake_on_s3
    before = list(lake.ledger.files("events")), lake.ledger.committed_outputs("events")
    lake.store.put(A, lake.store.get("archive/2026/week07/a.json"))

    assert work(lake) == []

    assert (list(lake.ledger.files("events")), lake.ledger.committed_outputs("events")) == before
    assert lake.ledger.manifest("events", MANIFEST).attempt == 1
    assert is_settled(lake)


def test_a_copy_lost_from_the_archive_is_there_again_once_the_file_is_uploaded_again(lake_on_s3: Lake) -> None:
    lake = lake_on_s3
    archived = "archive/2026/week07/b.json"
    original = lake.store.get(archived)
    lake.store.delete([archived])
    land(lake, A, event(9))
    failures = work(lake)
    assert set(failures) == {failures[0]}
    assert f"{B}: The object is not in the store: {archived}; land it again under that key" in failures[0]
    assert ids(lake) == ["e1", "e2", "e3"]

    lake.store.put(B, original)
    lake.ledger.requeue("events", manifest=MANIFEST)

    assert work(lake) == []
    assert lake.store.get(archived) == original
    assert ids(lake) == ["e3", "e9"]
    assert is_settled(lake)


def test_a_mended_file_in_quarantine_is_not_overwritten_by_the_broken_one_uploaded_again(lake_on_s3: Lake) -> None:
    lake = lake_on_s3
    broken, aside = b"\x89PNG", "quarantine/events/files/2026/week07/c.json"
    lake.store.put("raw/2026/week07/c.json", broken)
    work(lake)
    land(lake, aside, event(7))
    mended = lake.store.get(aside)
    lake.store.put("raw/2026/week07/c.json", broken)

    work(lake)

    assert lake.store.get(aside) == mended
    assert stored(lake, "raw/") == ["raw/2026/week07/c.json"]


def test_an_unreadable_new_version_is_set_aside_and_the_old_rows_stay_until_a_third_replaces_them(
    stored_anywhere: Lake,
) -> None:
    lake = stored_anywhere
    lake.store.put(A, b"\x89PNG")
    land(lake, B, event(4))

    (failure,) = work(lake)

    assert "New versions of files cannot be converted, so the rows of the old ones stay" in failure
    assert A in failure
    assert versions(lake) == [("SUCCEEDED", None), ("QUARANTINED", "Unreadable")]
    assert ids(lake) == ["e1", "e2", "e4"]
    assert stored(lake, "quarantine/events/files/") == ["quarantine/events/files/2026/week07/a.json"]
    assert is_settled(lake)

    land(lake, A, event(8))
    assert work(lake) == []
    assert [status for status, _ in versions(lake)] == ["SUPERSEDED", "SUPERSEDED", "SUCCEEDED"]
    assert ids(lake) == ["e4", "e8"]
    assert is_settled(lake)


def test_an_unreadable_new_version_alone_leaves_its_manifest_as_it_was_committed(lake: Lake) -> None:
    before = lake.ledger.committed_outputs("events"), lake.ledger.commit_mark("events")
    lake.store.put(A, b"\x89PNG")

    (failure,) = work(lake)

    assert "the rows of the version before it stay" in failure
    assert (lake.ledger.committed_outputs("events"), lake.ledger.commit_mark("events")) == before
    assert lake.ledger.manifest("events", MANIFEST).state == "COMMITTED"
    assert is_settled(lake)


def test_a_new_version_mended_in_quarantine_replaces_the_old_rows(lake: Lake) -> None:
    lake.store.put(A, b"\x89PNG")
    work(lake)
    land(lake, "quarantine/events/files/2026/week07/a.json", event(7))

    replay(lake, lake.datasets["events"], plan_replay(lake, lake.datasets["events"], key=A))

    assert work(lake) == []
    assert ids(lake) == ["e3", "e7"]
    assert is_settled(lake)


@pytest.mark.parametrize("selector", [{"key": A}, {"status": "QUARANTINED"}, {"manifest": MANIFEST}])
def test_an_unreadable_new_version_that_is_requeued_never_stands_beside_the_old_rows(
    lake: Lake, selector: dict[str, Any]
) -> None:
    lake.store.put(A, b"\x89PNG")
    work(lake)
    aside = "quarantine/events/files/2026/week07/a.json"
    lake.ledger.requeue("events", **selector)
    assert len(work(lake)) == 1
    assert versions(lake) == [("SUCCEEDED", None), ("QUARANTINED", "Unreadable")]
    assert ids(lake) == ["e1", "e2", "e3"]

    # The reader has learned to read it: what lies there has the same size, as its copy in quarantine may have.
    lake.store.put(aside, b"{}\n\n")
    lake.ledger.requeue("events", **selector)

    assert work(lake) == []
    assert [status for status, _ in versions(lake)] == ["SUPERSEDED", "SUCCEEDED"]
    assert rows(lake, "select id, _source_file from events order by id") == [("e3", B), (None, A)]
    assert is_settled(lake)


def test_a_requeued_file_keeps_its_rows_where_its_new_version_is_gone(lake: Lake) -> None:
    lake.ledger.requeue("events", key=A)
    land(lake, A, event(9))
    register(lake)
    lake.store.delete([A])

    assert work(lake) == []

    assert versions(lake) == [("SUCCEEDED", None), ("SUPERSEDED", "ObjectDeleted")]
    assert lake.ledger.manifest("events", MANIFEST).attempt == 2, "the replay that was asked for took place"
    assert ids(lake) == ["e1", "e2", "e3"]
    assert is_settled(lake)


def test_a_version_that_lands_again_after_it_was_withdrawn_is_a_new_one(lake_on_s3: Lake) -> None:
    lake = lake_on_s3
    land(lake, A, event(9))
    register(lake)
    lake.store.delete([A])
    work(lake)

    land(lake, A, event(9))

    assert work(lake) == []
    assert ids(lake) == ["e3", "e9"]
    assert is_settled(lake)


@pytest.mark.parametrize("what", ["deleted", "overwritten"])
def test_a_new_version_lost_while_its_manifest_is_converted(stored_anywhere: Lake, what: str) -> None:
    lake = stored_anywhere
    land(lake, A, event(9))

    def losing(task: Task) -> None:
        if task.attempt == 2:
            if what == "deleted":
                lake.store.delete([A])
            else:
                land(lake, A, event(8), event(5))
                register(lake)
        convert_here(task)

    (failure,) = work(lake, losing)

    assert A in failure
    assert ids(lake) == (["e1", "e2", "e3"] if what == "deleted" else ["e3", "e5", "e8"])
    assert is_settled(lake)


def test_a_first_version_overwritten_before_its_archive_keeps_its_rows_where_the_second_is_gone(lake: Lake) -> None:
    key = "raw/2026/week08/c.json"

    def overwriting(task: Task) -> None:
        convert_here(task)
        if task.attempt == 1:
            land(lake, key, event(11))
            register(lake)
            lake.store.delete([key])

    land(lake, key, event(10))
    # Its only copy was overwritten once it had been read: nobody can read it again.
    assert work(lake, overwriting) == []

    assert ids(lake) == ["e1", "e10", "e2", "e3"]
    assert versions(lake, key) == [("SUCCEEDED", None), ("SUPERSEDED", "ObjectDeleted")]
    assert is_settled(lake)


def test_three_versions_in_a_row_and_one_with_the_same_rows(stored_anywhere: Lake) -> None:
    lake = stored_anywhere
    for number, records in enumerate([[event(1), event(4)], [event(1), event(4)], [event(5)]], 2):
        land(lake, A, *records, "" if number % 2 else "\n")
        assert work(lake) == []
        assert ids(lake) == sorted([*(record["id"] for record in records), "e3"])
        assert [status for status, _ in versions(lake)] == ["SUPERSEDED"] * (number - 1) + ["SUCCEEDED"]
        assert is_settled(lake)


def test_a_version_that_lands_while_the_one_before_it_is_converted_replaces_it_next(lake: Lake) -> None:
    key = "raw/2026/week08/c.json"
    seen: list[list[str]] = []

    def interrupted(task: Task) -> None:
        seen.append(ids(lake))
        convert_here(task)
        if task.attempt == 1:
            lake.store.delete([key])  # what was read stays read: another file comes in its place
            land(lake, key, event(11))
            register(lake)

    land(lake, key, event(10))
    assert work(lake, interrupted) == []

    assert seen == [["e1", "e2", "e3"], ["e1", "e10", "e2", "e3"]]
    assert ids(lake) == ["e1", "e11", "e2", "e3"]
    assert [status for status, _ in versions(lake, key)] == ["SUPERSEDED", "SUCCEEDED"]
    assert is_settled(lake)


def test_readers_see_one_version_or_the_other_and_the_replaced_file_goes_after_they_are_told(
    lake: Lake, tmp_path: Path
) -> None:
    catalog, settings = catalog_of(lake.settings), lake.settings
    stop = tmp_path / "stop"

    def read() -> set[tuple[str, ...]]:
        seen = set()
        while not stop.exists():
            found = catalog.query(settings, "select id from events where id <> 'e3' order by id").rows
            seen.add(tuple(row[0] for row in found))
        return seen

    with ThreadPoolExecutor() as pool:
        reading = pool.submit(read)
        for number in range(4, 8):
            land(lake, A, event(number), event(number + 10))
            assert work(lake) == []
        stop.touch()
        seen = reading.result()

    assert seen <= {("e1", "e2"), *((tuple(sorted((f"e{n}", f"e{n + 10}")))) for n in range(4, 8))}
    assert len(seen) > 1
    assert is_settled(lake)
