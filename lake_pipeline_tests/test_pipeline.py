"""The whole path, on a directory and on S3: files land, `lake run` runs, readers see rows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lake_pipeline.discovery.listing import discover
from lake_pipeline.lake import Lake
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, run, states, stored

ALL_IDS = "select id from events order by id"


# In S3 each run takes seconds of moto; test_aws_end_to_end.py walks the same road there at every `make test`.
@pytest.fixture(params=["directory", pytest.param("s3", marks=pytest.mark.slow)])
def store_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, store_url: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS, store=store_url) as opened:
        yield opened


def test_files_become_rows_in_hive_partitions_and_move_to_the_archive(lake: Lake) -> None:
    land(lake, "raw/old/a.json", event(1, day=3, user={"geo": {"lat": 1.5}}), event(2, day=4, mode="car"))
    land(lake, "raw/2026/week07/b.json", event(3, day=3))

    assert run(lake) == 2

    assert rows(
        lake, "select id, date, mode, user_geo_lat, year, month, day, _source_file from events order by id"
    ) == [
        ("e1", "2026-02-03", "bike", 1.5, 2026, 2, 3, "raw/old/a.json"),
        ("e2", "2026-02-04", "car", None, 2026, 2, 4, "raw/old/a.json"),
        ("e3", "2026-02-03", "bike", None, 2026, 2, 3, "raw/2026/week07/b.json"),
    ]
    assert stored(lake, "curated/") == [
        "curated/year=2026/month=2/day=3/mode=bike/2026-week07.0001-a1-0.parquet",
        "curated/year=2026/month=2/day=3/mode=bike/historical.0001-a1-0.parquet",
        "curated/year=2026/month=2/day=4/mode=car/historical.0001-a1-0.parquet",
    ]
    assert stored(lake, "raw/") == []
    assert stored(lake, "archive/") == ["archive/2026/week07/b.json", "archive/old/a.json"]
    assert stored(lake, "_staging/") == []


def test_an_output_prefix_is_filled_with_what_the_landing_group_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    source = {"prefix": "raw/", "format": "ndjson", "group": "{date}/"}
    daily = EVENTS | {"source": source, "output": {"prefix": "curated/merged-{date}/", "compression": "snappy"}}
    with lake_of(monkeypatch, tmp_path, database_url, daily) as lake:
        land(lake, "raw/2026-02-01/a.ndjson", event(1))
        land(lake, "raw/notes/b.ndjson", event(2))
        run(lake)
        lake.ledger.requeue("events", manifest="2026-02-01.0001")
        run(lake)
        assert stored(lake, "curated/") == [
            "curated/merged-2026-02-01/2026-02-01.0001-a2-0.parquet",
            "curated/merged-historical/historical.0001-a1-0.parquet",
        ]
        assert rows(lake, ALL_IDS) == [("e1",), ("e2",)]


def test_running_again_changes_nothing(lake: Lake) -> None:
    land(lake, "raw/2026/week07/a.json", event(1))
    run(lake)
    before = (stored(lake, ""), list(lake.ledger.files("events")))

    assert run(lake) == 0

    assert (stored(lake, ""), list(lake.ledger.files("events"))) == before


def test_a_new_file_in_a_week_already_done_becomes_a_new_manifest(lake: Lake) -> None:
    land(lake, "raw/2026/week07/a.json", event(1))
    run(lake)
    land(lake, "raw/2026/week07/b.json", event(2, weather="rain"))

    assert run(lake) == 1

    assert [manifest.manifest_id for manifest in lake.ledger.manifests("events")] == [
        "2026-week07.0001",
        "2026-week07.0002",
    ]
    assert rows(lake, "select id, weather from events order by id") == [("e1", None), ("e2", "rain")]
    assert lake.schema("events").version == 2


def test_a_requeued_manifest_gives_the_same_rows_once(lake: Lake) -> None:
    land(lake, "raw/2026/week07/a.json", event(1), event(2))
    land(lake, "raw/2026/week08/b.json", event(3))
    run(lake)
    before = rows(lake, "select * from events order by id")

    requeued = lake.ledger.requeue("events", manifest="2026-week07.0001")

    assert (requeued.files, requeued.manifests) == (1, 1)
    assert run(lake) == 1
    assert rows(lake, "select * from events order by id") == before
    assert [key.rpartition("/")[2] for key in stored(lake, "curated/")] == [
        "2026-week07.0001-a2-0.parquet",
        "2026-week08.0001-a1-0.parquet",
    ]


def test_bad_files_end_in_a_stated_state_and_their_neighbours_succeed(lake: Lake) -> None:
    land(lake, "raw/good.json", event(1))
    land(lake, "raw/one-bad-line.json", event(2), '{"id": "e3", ', event(4))
    lake.store.put("raw/cut.json.gz", gzip.compress(b'{"id": "e5"}\n' * 5000, mtime=0)[:-20])
    lake.store.put("raw/empty.json", b"")
    lake.store.put("raw/picture.json", b"\x89PNG\r\n\x1a\n\x00\x00")

    run(lake)

    files = {file.s3_key: file for file in lake.ledger.files("events")}
    assert {key: file.status for key, file in files.items()} == {
        "raw/good.json": "SUCCEEDED",
        "raw/one-bad-line.json": "SUCCEEDED",
        "raw/cut.json.gz": "QUARANTINED",
        "raw/empty.json": "QUARANTINED",
        "raw/picture.json": "QUARANTINED",
    }
    assert "ends early" in (files["raw/cut.json.gz"].error_message or "")
    assert files["raw/empty.json"].error_message == "the file is empty"
    assert files["raw/one-bad-line.json"].rows_quarantined == 1
    assert rows(lake, ALL_IDS) == [("e1",), ("e2",), ("e4",)]
    (line,) = lake.store.get("quarantine/events/records/historical.0001-a1.ndjson").splitlines()
    entry = json.loads(line)
    assert (entry["file"], entry["line"], entry["raw"]) == ("raw/one-bad-line.json", 2, '{"id": "e3", ')
    assert stored(lake, "quarantine/events/files/") == [
        "quarantine/events/files/cut.json.gz",
        "quarantine/events/files/empty.json",
        "quarantine/events/files/picture.json",
    ]


def test_a_quarantined_file_that_was_mended_lands_as_a_new_version(lake: Lake) -> None:
    lake.store.put("raw/a.json", b"\x89PNG")
    run(lake)
    land(lake, "raw/a.json", event(1))

    run(lake)

    assert sorted(file.status for file in lake.ledger.files("events")) == ["SUCCEEDED", "SUPERSEDED"]
    assert rows(lake, ALL_IDS) == [("e1",)]


def test_a_file_that_vanishes_after_the_listing_fails_and_the_rest_succeeds(lake: Lake) -> None:
    land(lake, "raw/gone.json", event(1))
    land(lake, "raw/here.json", event(2))
    discover(lake.dataset("events"), lake.store, lake.ledger)
    lake.store.delete(["raw/gone.json"])

    run(lake)

    assert states(lake) == {"raw/gone.json": "FAILED", "raw/here.json": "SUCCEEDED"}
    (gone,) = lake.ledger.files("events", status="FAILED")
    assert gone.error_class == "ObjectMissing"
    assert gone.retry_count == lake.dataset("events").batch.max_retries + 1
    assert rows(lake, ALL_IDS) == [("e2",)]


def test_a_new_version_of_a_file_replaces_the_rows_of_the_old_one(lake: Lake) -> None:
    land(lake, "raw/a.json", event(1), event(2))
    land(lake, "raw/b.json", event(3))
    run(lake)
    land(lake, "raw/a.json", event(1, mode="car"), event(4))

    run(lake)

    assert rows(lake, "select id, mode from events order by id") == [("e1", "car"), ("e3", "bike"), ("e4", "bike")]
    assert sorted((file.s3_key, file.status) for file in lake.ledger.files("events")) == [
        ("raw/a.json", "SUCCEEDED"),
        ("raw/a.json", "SUPERSEDED"),
        ("raw/b.json", "SUCCEEDED"),
    ]
    assert len(stored(lake, "archive/")) == 3  # the old version's bytes are kept


def test_a_value_that_does_not_fit_its_column_is_rescued_with_its_row(lake: Lake) -> None:
    land(lake, "raw/2026/week07/a.json", event(1, distance=12))
    run(lake)
    land(lake, "raw/2026/week08/b.json", event(2, distance="far"), event(3, distance=7))

    run(lake)

    assert rows(lake, "select id, distance, _rescued from events order by id") == [
        ("e1", 12, None),
        ("e2", None, '{"distance":"far"}'),
        ("e3", 7, None),
    ]


def test_a_manifest_whose_records_all_lack_the_partition_columns_is_still_readable(lake: Lake) -> None:
    land(lake, "raw/a.json", {"id": "e1"})

    run(lake)

    assert rows(lake, "select id, year, mode from events") == [("e1", None, None)]


def test_a_manifest_without_a_single_good_file_commits_with_no_rows(lake: Lake) -> None:
    lake.store.put("raw/empty.json", b"")

    run(lake)

    (manifest,) = lake.ledger.manifests("events")
    assert manifest.state == "COMMITTED"
    assert lake.ledger.committed_outputs("events") == []


def test_a_strict_dataset_refuses_a_change_and_says_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    strict = EVENTS | {"schema": {"mode": "strict", "flatten": {"rename": {"DATE": "date", "MODE": "mode"}}}}
    with lake_of(monkeypatch, tmp_path, database_url, strict) as lake:
        land(lake, "raw/2026/week07/a.json", event(1, distance=12))
        run(lake)
        land(lake, "raw/2026/week08/b.json", event(2, distance=3), event(3, distance="far"))

        run(lake)

        (manifest,) = [found for found in lake.ledger.manifests("events") if found.state == "FAILED"]
        assert "raw/2026/week08/b.json:2" in (manifest.error_message or "")
        assert "'distance' is bigint" in (manifest.error_message or "")
        assert states(lake) == {"raw/2026/week07/a.json": "SUCCEEDED", "raw/2026/week08/b.json": "FAILED"}
        assert rows(lake, ALL_IDS) == [("e1",)]
        assert stored(lake, "raw/") == ["raw/2026/week08/b.json"]


@pytest.mark.parametrize("what", ["gone", "unreadable"])
def test_a_replay_that_cannot_read_every_file_leaves_the_table_as_it_is(lake: Lake, what: str) -> None:
    land(lake, "raw/2026/week07/a.json", event(1))
    land(lake, "raw/2026/week07/b.json", event(2))
    run(lake)
    before = rows(lake, "select * from events order by id")
    if what == "gone":
        lake.store.delete(["archive/2026/week07/b.json"])
    else:
        size = lake.store.head("archive/2026/week07/b.json").size
        lake.store.put("archive/2026/week07/b.json", b"\x89PNG".ljust(size, b"\0"))
    lake.ledger.requeue("events", manifest="2026-week07.0001")

    run(lake)

    assert rows(lake, "select * from events order by id") == before
    (manifest,) = lake.ledger.manifests("events")
    assert manifest.state == "FAILED"
    assert "the table keeps them as they are: raw/2026/week07/b.json" in (manifest.error_message or "")
    assert {output.path for output in lake.ledger.committed_outputs("events")} == set(stored(lake, "curated/"))
