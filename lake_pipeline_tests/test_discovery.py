"""Discovery by listing: everything once, whatever breaks it off."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lake_pipeline.dataset import Dataset
from lake_pipeline.discovery.listing import Discovered, discover, is_raw_file, storable
from lake_pipeline.discovery.named import discover_named
from lake_pipeline.errors import StoreError
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.store import Store, StoredObject
from lake_pipeline_tests.ledger_samples import claim, convert
from lake_pipeline_tests.waiting import until

EVENTS = Dataset.model_validate(
    {
        "name": "events",
        "source": {"prefix": "raw/", "group": "{year}/{week}/"},
        "output": {"prefix": "curated/"},
    }
)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "store"


def put(lake: Path, *keys: str, data: str = "{}") -> None:
    for key in keys:
        (lake / key).parent.mkdir(parents=True, exist_ok=True)
        (lake / key).write_text(data)


def test_what_lies_under_the_prefix_is_registered_with_its_group(ledger: Ledger, lake: Path) -> None:
    put(lake, "raw/2026/week07/a.json", "raw/old/b.json.gz", "raw-other/c.json", "curated/d.parquet")
    assert discover(EVENTS, Store(str(lake)), ledger) == Discovered(listed=2, new=2, complete=True)
    rows = [(row.s3_key, row.landing_group, row.size) for row in ledger.files("events")]
    assert rows == [("raw/2026/week07/a.json", "2026/week07", 2), ("raw/old/b.json.gz", "historical", 2)]


def test_listing_again_finds_only_what_is_new_or_changed(ledger: Ledger, lake: Path) -> None:
    put(lake, "raw/a", "raw/b")
    store = Store(str(lake))
    discover(EVENTS, store, ledger)
    put(lake, "raw/c")
    put(lake, "raw/b", data="[1, 2]")
    assert discover(EVENTS, store, ledger) == Discovered(listed=3, new=2, known=1, complete=True)
    assert [(row.s3_key, row.size, row.status) for row in ledger.files("events")] == [
        ("raw/a", 2, "PENDING"),
        ("raw/b", 2, "SUPERSEDED"),
        ("raw/b", 6, "PENDING"),
        ("raw/c", 2, "PENDING"),
    ]


def test_a_listing_that_is_overtaken_does_not_bring_back_what_it_saw(ledger: Ledger, s3_url: str) -> None:
    store = Store(s3_url)
    old = [store.put(f"raw/2026/week07/{name}", b"[1]") for name in "ab"][-1]

    def overtake(so_far: Discovered) -> None:
        """What the listing has seen and not yet registered is replaced, and the new version converted."""
        if so_far.listed == 1:
            until(lambda: store.put(old.key, b"[1, 2]").last_modified > old.last_modified)
            discover_named(EVENTS, store, ledger, [old.key])
            convert(ledger, claim(ledger).manifest_id)

    assert discover(EVENTS, store, ledger, page=1, on_progress=overtake).known == 1
    assert [(file.s3_key[-1], file.size, file.status) for file in ledger.files("events")] == [
        ("a", 3, "SUCCEEDED"),
        ("b", 6, "SUCCEEDED"),
    ]
    assert [manifest.state for manifest in ledger.manifests("events")] == ["COMMITTED"]


def test_a_file_in_a_directory_that_brings_an_older_time_with_it_is_a_new_version(ledger: Ledger, lake: Path) -> None:
    put(lake, "raw/a")
    discover(EVENTS, Store(str(lake)), ledger)
    put(lake, "raw/a", data="[1, 2]")
    os.utime(lake / "raw/a", (0, 0))  # as `cp -p` does

    assert discover(EVENTS, Store(str(lake)), ledger).new == 1
    assert [(file.size, file.status) for file in ledger.files("events")] == [(2, "SUPERSEDED"), (6, "PENDING")]


def test_an_empty_prefix_is_a_complete_listing_of_nothing(ledger: Ledger, lake: Path) -> None:
    assert discover(EVENTS, Store(str(lake)), ledger) == Discovered(complete=True)


def test_a_listing_that_fails_is_not_an_empty_one(ledger: Ledger, lake: Path) -> None:
    store = Store(str(lake))
    (lake / "raw").symlink_to("raw")  # a loop, which no listing gets through
    with pytest.raises(StoreError):
        discover(EVENTS, store, ledger)


def test_a_listing_goes_on_where_its_deadline_broke_it_off(ledger: Ledger, lake: Path) -> None:
    put(lake, *[f"raw/{n:02}" for n in range(10)])
    store = Store(str(lake))
    seen: list[Discovered] = []
    past = time.monotonic()
    assert not discover(EVENTS, store, ledger, page=4, deadline=past, on_progress=seen.append).complete
    assert ledger.cursor("events") == "raw/03"
    assert [item.listed for item in seen] == [4]
    assert discover(EVENTS, store, ledger, page=4) == Discovered(listed=6, new=6, complete=True)
    assert ledger.cursor("events") is None
    assert discover(EVENTS, store, ledger, page=4) == Discovered(listed=10, known=10, complete=True)


def test_a_listing_stops_when_its_budget_of_keys_is_spent_and_goes_on_from_there(ledger: Ledger, lake: Path) -> None:
    put(lake, *[f"raw/{n:02}" for n in range(10)])
    store = Store(str(lake))
    assert discover(EVENTS, store, ledger, page=3, most=4) == Discovered(listed=6, new=6)
    assert discover(EVENTS, store, ledger, page=3, most=100) == Discovered(listed=4, new=4, complete=True)


def list_and_report(url: str, root: str, registered: multiprocessing.Queue[int]) -> None:
    with Ledger.open(url) as ledger:
        discover(EVENTS, Store(root), ledger, page=20, on_progress=lambda so_far: registered.put(so_far.listed))


def test_a_listing_killed_midway_goes_on_and_has_every_key_once(ledger: Ledger, lake: Path, database_url: str) -> None:
    put(lake, *[f"raw/{folder}/{n:03}" for folder in ("a", "a b", "c") for n in range(400)])
    context = multiprocessing.get_context("spawn")
    registered = context.Queue()
    process = context.Process(target=list_and_report, args=(database_url, str(lake), registered))
    process.start()
    while registered.get(timeout=60) < 100:
        pass
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    registered.close()
    before = ledger.status()["events"]["PENDING"]
    assert 100 <= before < 1200
    rest = discover(EVENTS, Store(str(lake)), ledger)
    assert (rest.listed, rest.new, rest.complete) == (1200 - before, 1200 - before, True)
    keys = [row.s3_key for row in ledger.files("events")]
    assert len(keys) == len(set(keys)) == 1200


@pytest.mark.parametrize(
    ("key", "size", "is_file"),
    [
        ("raw/2026/", 0, False),
        ("raw/2026/", 5, True),
        ("raw/empty.json", 0, True),
        ("raw/a\0b", 5, False),
        ("raw/\ud800", 5, False),
    ],
)
def test_marks_of_folders_and_names_that_postgres_cannot_hold_are_left_alone(
    key: str, size: int, is_file: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert is_raw_file(StoredObject(key, size, "e", datetime(2026, 2, 1, tzinfo=UTC))) == is_file
    assert ("left alone" in caplog.text) == (storable(key) != key)


def test_a_listing_can_resume_at_a_name_that_postgres_cannot_hold() -> None:
    assert storable("raw/a\0b") == "raw/a"
    assert storable("raw/ok") == "raw/ok"
