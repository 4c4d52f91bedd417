"""The catalogue in Glue, read through Athena: committed rows and nothing else, whoever was killed or meddled."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.glue.models import glue_backends

from lake_pipeline.aws import client
from lake_pipeline.aws_local.server import REGION, Refused
from lake_pipeline.catalog.contract import catalog_of
from lake_pipeline.dataset import Extract
from lake_pipeline.errors import CatalogConflict, CatalogError, ExtractFailed, QueryError
from lake_pipeline.extracts import stale_extracts, write_extract
from lake_pipeline.lake import Lake
from lake_pipeline.progress import finish_interrupted
from lake_pipeline.schemas import ListOf, StructOf
from lake_pipeline_tests.aws_lakes import Aws, aws_lake_of, aws_of, commit, database, partitions, table
from lake_pipeline_tests.lakes import EVENTS, event, land, rows, run, stored

DAY_1, DAY_2 = (f"year=2026/month=2/day={day}/mode=bike" for day in (1, 2))
ALL_IDS = "select id from events order by id"

PROJECTED = EVENTS | {
    "output": {
        "prefix": "curated/",
        "partition_by": ["year(date)", "mode"],
        "projection": {"year": {"first": 2020, "last": 2030}, "mode": {"values": ["bike", "car"]}},
    }
}
ONCE = EVENTS | {"transform": {"deduplicate": {"keys": ["id"], "keep": "latest", "by": "n"}}}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    with aws_of(monkeypatch) as opened:
        yield opened


@pytest.fixture
def lake(aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    with aws_lake_of(monkeypatch, aws, tmp_path, database_url, EVENTS) as opened:
        yield opened


def backend() -> Any:
    """moto's own Glue, for operations that do something else first."""
    return glue_backends["123456789012"][REGION]


def refresh(lake: Lake) -> None:
    catalog_of(lake.settings).refresh(lake, lake.dataset("events"))


def columns(name: str) -> dict[str, str]:
    return {column["Name"]: column["Type"] for column in table(name)["StorageDescriptor"]["Columns"]}


def test_a_run_ends_with_a_table_and_its_partitions_and_athena_gives_the_rows(lake: Lake) -> None:
    land(lake, "raw/2026/week07/a.json", event(1), event(2, day=2, mode="a b/ü=%"), {"id": "e3", "DATE": "2026-02-01"})
    run(lake)

    assert partitions("events") == [
        ["2026", "2", "1", "__HIVE_DEFAULT_PARTITION__"],
        ["2026", "2", "1", "bike"],
        ["2026", "2", "2", "a b/ü=%"],
    ]
    assert rows(lake, "select id, date, mode, year, day, _source_file from events order by id") == [
        ("e1", "2026-02-01", "bike", 2026, 1, "raw/2026/week07/a.json"),
        ("e2", "2026-02-02", "a b/ü=%", 2026, 2, "raw/2026/week07/a.json"),
        ("e3", "2026-02-01", None, 2026, 1, "raw/2026/week07/a.json"),
    ]
    assert not lake.settings.catalog_path.exists()


def test_a_file_that_no_commit_lists_is_not_seen_in_a_partition_that_is_there(lake: Lake) -> None:
    commit(lake, "a", {DAY_1: [{"id": "e1"}]}, id="string")
    refresh(lake)
    (committed,) = stored(lake, "curated/")
    lake.store.put(committed.replace("a.parquet", "b.parquet"), lake.store.get(committed))

    assert rows(lake, ALL_IDS) == [("e1",)]


def test_who_asks_all_the_time_sees_whole_commits_only(lake: Lake) -> None:
    commit(lake, "m0", {DAY_1: [{"id": "0"}] * 10}, id="string")
    refresh(lake)
    done = threading.Event()

    def ask() -> list[int]:
        counts = []
        while not done.is_set():
            counts += [count for (count,) in rows(lake, "select count(*) from events")]
        return counts

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        try:
            for number in range(1, 6):
                commit(lake, f"m{number}", {DAY_1: [{"id": str(number)}] * 10})
                refresh(lake)
        finally:
            done.set()
    counts = asked.result()
    assert counts == sorted(counts)
    assert set(counts) <= {10, 20, 30, 40, 50, 60}


def test_a_replay_replaces_rows_and_a_partition_that_has_none_any_more_goes(lake: Lake) -> None:
    land(lake, "raw/2026/week07/a.json", event(1), event(2, day=2))
    run(lake)
    land(lake, "raw/2026/week07/a.json", event(1), event(2, day=3))
    run(lake)

    assert rows(lake, "select id, day from events order by id") == [("e1", 1), ("e2", 3)]
    assert [values[2] for values in partitions("events")] == ["1", "3"]
    assert len(stored(lake, "_symlinks/")) == 2


def test_new_keys_become_columns_and_older_rows_have_null_there(lake: Lake) -> None:
    commit(lake, "a", {DAY_1: [{"id": "e1"}]}, id="string")
    refresh(lake)
    legs = ListOf(StructOf((("to", "string"), ("seq", "bigint"))))
    commit(lake, "b", {DAY_1: [{"id": "e2", "n": 5, "legs": [{"to": "x", "seq": 1}]}]}, n="bigint", legs=legs)
    refresh(lake)

    assert columns("events") == {
        "id": "string",
        "_source_file": "string",
        "_rescued": "string",
        "n": "bigint",
        "legs": "array<struct<to:string,seq:bigint>>",
    }
    assert rows(lake, "select id, n, legs from events order by id") == [
        ("e1", None, None),
        ("e2", 5, "[{to=x, seq=1}]"),
    ]


def test_what_someone_added_to_the_table_stays_through_an_evolution(lake: Lake) -> None:
    commit(lake, "a", {DAY_1: [{"id": "e1"}]}, id="string")
    refresh(lake)
    theirs = {name: table("events")[name] for name in ("Name", "StorageDescriptor", "PartitionKeys", "TableType")}
    theirs["StorageDescriptor"]["Columns"][0]["Comment"] = "the key"
    client("glue").update_table(
        DatabaseName=database(),
        TableInput=theirs | {"Description": "theirs", "Parameters": table("events")["Parameters"] | {"cost": "42"}},
    )
    commit(lake, "b", {DAY_1: [{"id": "e2", "n": 5}]}, n="bigint")
    refresh(lake)

    now = table("events")
    assert now["StorageDescriptor"]["Columns"][0]["Comment"] == "the key"
    assert (now["Description"], now["Parameters"]["cost"]) == ("theirs", "42")
    assert columns("events")["n"] == "bigint"


def test_someone_elses_table_is_left_alone_and_the_rows_are_shown_once_it_is_gone(lake: Lake) -> None:
    glue = client("glue")
    glue.create_database(DatabaseInput={"Name": database()})
    glue.create_table(DatabaseName=database(), TableInput={"Name": "events", "Description": "theirs"})
    commit(lake, "a", {DAY_1: [{"id": "e1"}]}, id="string")

    with pytest.raises(CatalogConflict, match="events was not made for events: rename that table"):
        refresh(lake)
    assert table("events")["Description"] == "theirs"

    glue.delete_table(DatabaseName=database(), Name="events")
    finish_interrupted(lake, lake.dataset("events"))
    assert rows(lake, ALL_IDS) == [("e1",)]


def test_a_dropped_table_is_made_anew_with_all_of_its_partitions(lake: Lake) -> None:
    commit(lake, "a", {DAY_1: [{"id": "e1"}], DAY_2: [{"id": "e2"}]}, id="string")
    refresh(lake)
    client("glue").delete_table(DatabaseName=database(), Name="events")

    refresh(lake)

    assert rows(lake, ALL_IDS) == [("e1",), ("e2",)]


def test_a_pass_without_news_asks_nothing_of_aws(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(lake, "a", {DAY_1: [{"id": "e1"}]}, id="string")
    refresh(lake)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    catalog_of(lake.settings).refresh_if_stale(lake, lake.dataset("events"))


def test_what_a_refresh_could_not_show_the_next_pass_shows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    allowed = False

    def add(request: dict[str, Any]) -> dict[str, Any]:
        if not allowed:
            raise Refused("AccessDeniedException", "no glue:BatchCreatePartition for you")
        return {"Errors": backend().batch_create_partition(database(), "events", request["PartitionInputList"])}

    with (
        aws_of(monkeypatch, {"AWSGlue.BatchCreatePartition": add}) as aws,
        aws_lake_of(monkeypatch, aws, tmp_path, database_url, EVENTS) as lake,
    ):
        land(lake, "raw/2026/week07/a.json", event(1))
        with pytest.raises(CatalogError, match="no glue:BatchCreatePartition for you"):
            run(lake)
        assert lake.ledger.manifest("events", "2026-week07.0001").state == "COMMITTED"
        assert rows(lake, ALL_IDS) == []
        assert stored(lake, "raw/") == ["raw/2026/week07/a.json"]

        allowed = True
        assert run(lake) == 0
        assert rows(lake, ALL_IDS) == [("e1",)]
        assert stored(lake, "raw/") == []


def test_partitions_are_added_a_hundred_at_a_time_and_one_that_glue_refuses_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    asked: list[int] = []
    refused = ["2026", "2", "9", "bike"]

    def add(request: dict[str, Any]) -> dict[str, Any]:
        wanted = request["PartitionInputList"]
        asked.append(len(wanted))
        taken = [item for item in wanted if item["Values"] != refused]
        errors = backend().batch_create_partition(database(), "events", taken)
        if len(taken) < len(wanted):
            detail = {"ErrorCode": "InternalServiceException", "ErrorMessage": "try again"}
            errors.append({"PartitionValues": refused, "ErrorDetail": detail})
        return {"Errors": errors}

    with (
        aws_of(monkeypatch, {"AWSGlue.BatchCreatePartition": add}) as aws,
        aws_lake_of(monkeypatch, aws, tmp_path, database_url, EVENTS) as lake,
    ):
        many = [f"year=2026/month=2/day=1/mode=m{number}" for number in range(101)]
        commit(lake, "a", {folder: [{"id": folder}] for folder in many}, id="string")
        refresh(lake)
        assert asked == [100, 1]
        assert len(partitions("events")) == 101

        commit(lake, "b", {"year=2026/month=2/day=9/mode=bike": [{"id": "e1"}]})
        with pytest.raises(CatalogError, match="events 2026/2/9/bike: InternalServiceException: try again"):
            refresh(lake)
        refused = []
        refresh(lake)
        assert rows(lake, "select id from events where day = 9") == [("e1",)]


def test_two_that_change_a_table_at_once_both_have_their_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    races = 0

    def update(request: dict[str, Any]) -> dict[str, Any]:
        nonlocal races
        now = backend().get_table(database(), "events").as_dict()
        if races:  # someone is faster
            races -= 1
            theirs = {name: now[name] for name in ("Name", "StorageDescriptor", "PartitionKeys", "Parameters")}
            count = {"races": str(races)}
            backend().update_table(database(), "events", theirs | {"Parameters": now["Parameters"] | count})
            raise Refused("ConcurrentModificationException", "Update table failed due to concurrent modifications")
        assert request["VersionId"] == now["VersionId"]
        backend().update_table(database(), "events", request["TableInput"])
        return {}

    with (
        aws_of(monkeypatch, {"AWSGlue.UpdateTable": update}) as aws,
        aws_lake_of(monkeypatch, aws, tmp_path, database_url, EVENTS) as lake,
    ):
        commit(lake, "a", {DAY_1: [{"id": "e1"}]}, id="string")
        refresh(lake)
        races = 2
        commit(lake, "b", {DAY_1: [{"id": "e2"}]}, n="bigint")
        refresh(lake)
        assert table("events")["Parameters"]["races"] == "0"
        assert columns("events")["n"] == "bigint"

        races = 99
        commit(lake, "c", {DAY_1: [{"id": "e3"}]}, m="bigint")
        with pytest.raises(CatalogError, match="concurrent modifications"):
            refresh(lake)


def test_a_projected_table_needs_no_partitions_in_glue_and_what_is_outside_is_warned_of(
    aws: Aws,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    database_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with aws_lake_of(monkeypatch, aws, tmp_path, database_url, PROJECTED) as lake:
        folders = {f"year=2026/mode={mode}": [{"id": mode}] for mode in ("bike", "car", "bus")}
        commit(lake, "a", folders, id="string")
        with caplog.at_level(logging.WARNING):
            refresh(lake)
        assert partitions("events") == []
        assert rows(lake, ALL_IDS) == [("bike",), ("car",)]
        assert "output.projection does not hold year=2026/mode=bus, so Athena does not see its rows" in caplog.text

    # The projection is taken back, so that Glue must have the partitions.
    looked_up = EVENTS | {"output": {"prefix": "curated/", "partition_by": ["year(date)", "mode"]}}
    with aws_lake_of(monkeypatch, aws, tmp_path, database_url, looked_up) as lake:
        catalog_of(lake.settings).refresh_if_stale(lake, lake.dataset("events"))
        assert [values[1] for values in partitions("events")] == ["bike", "bus", "car"]
        assert rows(lake, ALL_IDS) == [("bike",), ("bus",), ("car",)]


def test_an_injected_key_must_be_asked_for(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    output = PROJECTED["output"] | {"projection": {"year": {"first": 2020, "last": 2030}, "mode": {}}}
    with aws_lake_of(monkeypatch, aws, tmp_path, database_url, PROJECTED | {"output": output}) as lake:
        commit(lake, "a", {"year=2026/mode=bike": [{"id": "e1"}], "year=2026/mode=car": [{"id": "e2"}]}, id="string")
        refresh(lake)
        assert rows(lake, "select id from events where mode = 'car' and year = 2026") == [("e2",)]
        with pytest.raises(QueryError, match="must contain only static equality conditions"):
            rows(lake, ALL_IDS)


def test_a_deduplicated_dataset_shows_each_key_once_though_manifests_each_hold_it(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    with aws_lake_of(monkeypatch, aws, tmp_path, database_url, ONCE) as lake:
        commit(lake, "a", {DAY_1: [{"id": "e1", "n": 1}, {"id": "e2", "n": 1}, {"n": 7}]}, id="string", n="bigint")
        refresh(lake)
        commit(lake, "b", {DAY_2: [{"id": "e1", "n": 2, "extra": "x"}]}, extra="string")
        refresh(lake)

        assert rows(lake, "select id, n, day, extra from events order by n") == [
            ("e2", 1, 1, None),
            ("e1", 2, 2, "x"),
            (None, 7, 1, None),
        ]
        assert rows(lake, "select count(*) from events__rows") == [(4,)]
        assert table("events")["TableType"] == "VIRTUAL_VIEW"

    # A dataset that is not deduplicated any more has a plain table again, and back.
    for declaration, count in ((EVENTS, 4), (ONCE, 3)):
        with aws_lake_of(monkeypatch, aws, tmp_path, database_url, declaration) as lake:
            catalog_of(lake.settings).refresh_if_stale(lake, lake.dataset("events"))
            assert rows(lake, "select count(*) from events") == [(count,)]


def test_a_table_without_partitions_is_one_list(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    with aws_lake_of(monkeypatch, aws, tmp_path, database_url, EVENTS | {"output": {"prefix": "curated/"}}) as lake:
        commit(lake, "a", {"": [{"id": "e1"}]}, id="string")
        commit(lake, "b", {"": [{"id": "e2"}]})
        refresh(lake)
        assert rows(lake, ALL_IDS) == [("e1",), ("e2",)]
        listed = lake.store.get("_symlinks/events/symlink.txt").decode().splitlines()
        assert listed == [lake.store.uri(key) for key in stored(lake, "curated/")]


def test_json_lines_one_for_each_raw_file_are_read_under_their_names(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    lines = {
        "name": "events",
        "source": {"prefix": "raw/", "format": "parquet"},
        "output": {"prefix": "curated/", "format": "json", "files": "one_to_one"},
    }

    def land_parquet(lake: Lake, key: str, *records: dict[str, Any]) -> None:
        columns = pa.schema([("Id", pa.int64()), ("ts", pa.timestamp("us", "UTC")), ("tags", pa.list_(pa.string()))])
        written = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(list(records), columns), written)
        lake.store.put(key, written.getvalue())

    with aws_lake_of(monkeypatch, aws, tmp_path, database_url, lines) as lake:
        land_parquet(lake, "raw/a.parquet", {"Id": 1})
        run(lake)
        land_parquet(lake, "raw/a.parquet", {"Id": 2, "ts": datetime(2026, 2, 3, 10, tzinfo=UTC), "tags": ["x", None]})
        land_parquet(lake, "raw/b.parquet", {"Id": 3})
        run(lake)
        assert rows(lake, "select id, ts, tags from events order by id") == [
            (2, "2026-02-03T10:00:00Z", "[x, null]"),
            (3, None, None),
        ]


def test_an_extract_is_unloaded_by_athena_and_is_a_table_of_its_own(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    bikes = {"name": "bikes", "sql": "select id, n from events where n > 1; "}
    lists = {
        "name": "lists",
        "sql": "select list(id) as ids from events",
        "athena": "select array_agg(id) as ids from events",
    }
    with aws_lake_of(monkeypatch, aws, tmp_path, database_url, EVENTS | {"extracts": [bikes, lists]}) as lake:
        extracts = {extract.name: extract for extract in lake.dataset("events").extracts}
        commit(lake, "a", {DAY_1: [{"id": "e1", "n": 1}, {"id": "e2", "n": 2}]}, id="string", n="bigint")
        refresh(lake)

        manifest = write_extract(lake, lake.dataset("events"), extracts["bikes"])
        assert rows(lake, "select id, n from events_bikes") == [("e2", 2)]
        assert [file.rows for file in manifest.files] == [1]
        assert stored(lake, "extracts/events/bikes/") == sorted(
            [manifest.files[0].path, "extracts/events/bikes/manifest.json"]
        )
        assert columns("events_bikes") == {"id": "string", "n": "bigint"}

        write_extract(lake, lake.dataset("events"), extracts["lists"])
        assert rows(lake, "select ids from events_lists") == [("[e1, e2]",)]
        assert stale_extracts(lake, lake.dataset("events")) == []

        # Without rows the table keeps its columns.
        none = extracts["bikes"].model_copy(update={"sql": "select id, n from events where n > 2"})
        write_extract(lake, lake.dataset("events"), none)
        assert rows(lake, "select id, n from events_bikes") == []
        write_extract(lake, lake.dataset("events"), extracts["bikes"])
        assert rows(lake, "select id, n from events_bikes") == [("e2", 2)]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("select nonesuch from events", "nonesuch"),
        ("select 1; select 2", "mismatched input"),
        ("select 1) to 's3://lake/town/raw/' with (format = 'PARQUET') --", "mismatched input"),
        ("drop table events", "mismatched input"),
    ],
)
def test_an_extracts_sql_is_one_select_and_athenas_reason_is_said(lake: Lake, sql: str, reason: str) -> None:
    commit(lake, "a", {DAY_1: [{"id": "e1"}]}, id="string")
    refresh(lake)
    with pytest.raises(ExtractFailed, match=r"events\.odd: ") as failed:
        write_extract(lake, lake.dataset("events"), Extract(name="odd", sql=sql))
    assert reason in str(failed.value)
    assert stored(lake, "extracts/") == []
    assert rows(lake, ALL_IDS) == [("e1",)]
