"""The command line and the readers on a lake in S3; test_pipeline.py walks the road itself on both kinds of store."""

from __future__ import annotations

import pickle
import shutil
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import lake_pipeline
from lake_pipeline.aws import client
from lake_pipeline.settings import BUNDLED_DATASETS
from lake_pipeline.store import Store
from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, run, states, stored
from lake_pipeline_tests.test_store import NO_PATHS, ODD_KEYS
from lake_pipeline_tests.test_yellow_tripdata import TRIPS

BIKES = {"name": "bikes", "sql": "select id, mode from events where mode = 'bike'"}
WEEK = "raw/2026/week07"


@pytest.fixture
def lake(tmp_path: Path, database_url: str, s3_url: str) -> LakeCommand:
    """A file with a bad line, a file that is no JSON and a good one, in S3; nothing is converted yet."""
    command = lake_command(tmp_path / "home", database_url, EVENTS)
    lake = LakeCommand(command.home, {**command.variables, "LAKE_STORE": s3_url, "LAKE_CATALOG": "duckdb"})
    store = Store(s3_url)
    store.put(f"{WEEK}/a.json", b'{"id":"e1","DATE":"2026-02-01","MODE":"bike"}\nERROR 503\n')
    store.put(f"{WEEK}/b.json", b'{"id":"e2","DATE":"2026-02-02","MODE":"car"}\n')
    store.put(f"{WEEK}/broken.json", b"\x89PNG\n")
    return lake


def ids(lake: LakeCommand) -> list[str]:
    return [row["id"] for row in lake.json_lines("query", "select id from events order by id")]


def test_every_command_works_on_s3_and_what_was_mended_there_is_replayed(lake: LakeCommand) -> None:
    store = Store(lake.variables["LAKE_STORE"])
    assert lake.json("schema", "preview", "events")["unreadable"] != []

    lake("run")

    assert ids(lake) == ["e1", "e2"]
    assert lake.json("status")["events"]["QUARANTINED"] == 1
    assert {file["s3_key"]: file["status"] for file in lake.json_lines("files")} == {
        f"{WEEK}/a.json": "SUCCEEDED",
        f"{WEEK}/b.json": "SUCCEEDED",
        f"{WEEK}/broken.json": "QUARANTINED",
    }
    (record,) = lake.json_lines("quarantine", "show", "events", f"{WEEK}/a.json")
    assert record["raw"] == "ERROR 503"
    (shown,) = lake.json_lines("quarantine", "show", "events", f"{WEEK}/broken.json")
    assert shown["raw_base64"] == "iVBORwo="

    store.put("quarantine/events/files/2026/week07/broken.json", b'{"id":"e7","DATE":"2026-02-01","MODE":"bus"}\n')
    store.put("archive/2026/week07/a.json", b'{"id":"e1","DATE":"2026-02-01","MODE":"bus"}\n')
    lake("quarantine", "replay", "events", "--all")
    lake("run")

    assert ids(lake) == ["e1", "e2", "e7"]
    assert lake.json_lines("quarantine", "list") == []
    assert [item.key for page in store.list("raw/") for item in page] == []
    assert [item.key for page in store.list("_staging/") for item in page] == []
    assert not (lake.home / "store").exists()


@pytest.mark.slow
def test_the_demo_ends_on_s3_as_it_does_in_a_directory(tmp_path: Path, database_url: str, s3_url: str) -> None:
    (tmp_path / "datasets").mkdir()
    shutil.copy(BUNDLED_DATASETS / "sensor_readings.yaml", tmp_path / "datasets")
    variables = {
        "LAKE_DATASETS": str(tmp_path / "datasets"),
        "LAKE_DATABASE_URL": database_url,
        "LAKE_STORE": s3_url,
        "LAKE_CATALOG": "duckdb",
    }
    lake = LakeCommand(tmp_path / "home", variables)

    first = lake("demo")
    again = lake("demo")

    assert f"landed under {s3_url}/landing/sensor-readings/" in first.stderr
    assert "converting" not in again.stderr
    assert again.stdout == first.stdout


def test_training_jobs_and_extracts_read_the_table_from_s3_and_all_of_it_is_encrypted_as_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, s3_url: str
) -> None:
    monkeypatch.setenv("LAKE_S3_ENCRYPTION", "aws:kms")
    monkeypatch.setenv("LAKE_S3_KMS_KEY_ID", "alias/lake")
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS | {"extracts": [BIKES]}, store=s3_url) as lake:
        land(lake, f"{WEEK}/a.json", event(1), event(2, mode="a b/ü=%"), event(3, day=9))
        land(lake, "raw/2026/week08/b.json", event(4, day=9, note="n"))
        run(lake)

        table = lake_pipeline.open_table("events", where=(pc.field("day") == 9) & (pc.field("mode") == "bike"))
        assert sorted(row["id"] for row in table.to_table().to_pylist()) == ["e3", "e4"]
        assert table.to_table(["id"], filter=pc.field("note") == "n").to_pylist() == [{"id": "e4"}]
        assert pickle.loads(pickle.dumps(table)).count_rows() == 2
        assert {row["mode"] for row in lake_pipeline.open_table("events").to_table().to_pylist()} == {"bike", "a b/ü=%"}

        assert sorted(rows(lake, "select * from events_bikes")) == [("e1", "bike"), ("e3", "bike"), ("e4", "bike")]
        (key,) = [key for key in stored(lake, "extracts/") if key.endswith(".parquet")]
        with lake.store.open(key) as file:
            assert pq.read_table(file).num_rows == 3

        for key in (*stored(lake, "curated/"), *stored(lake, "archive/"), *stored(lake, "extracts/")):
            bucket, _, prefix = s3_url.removeprefix("s3://").partition("/")
            written = client("s3").head_object(Bucket=bucket, Key=f"{prefix}/{key}")
            assert (written["ServerSideEncryption"], written["SSEKMSKeyId"]) == ("aws:kms", "alias/lake"), key


def test_files_of_any_key_are_converted_and_archived_and_a_folders_mark_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, s3_url: str
) -> None:
    odd = sorted([*ODD_KEYS, *NO_PATHS], key=str.encode)
    odd.remove("raw/folder/")
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS, store=s3_url) as lake:
        lake.store.put("raw/folder/", b"")
        for number, key in enumerate(odd):
            land(lake, key, event(number))

        run(lake)

        assert states(lake) == dict.fromkeys(odd, "SUCCEEDED")
        assert rows(lake, "select id, _source_file from events order by id") == sorted(
            (f"e{number}", key) for number, key in enumerate(odd)
        )
        assert stored(lake, "raw/") == ["raw/folder/"]
        assert stored(lake, "archive/") == [f"archive/{key.removeprefix('raw/')}" for key in odd]


def test_one_file_becomes_one_file_on_s3_and_a_key_that_no_file_can_have_is_quarantined(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, s3_url: str
) -> None:
    written = BytesIO()
    pq.write_table(pa.table({"id": [1, 2]}), written)
    good, outside = ["raw-trips/2026/02/a[1]*.parquet", "raw-trips/2026/02/b.parquet"], f"../{tmp_path.name}-x.parquet"
    bad = [f"raw-trips/{outside}", "raw-trips//2026/02/c.parquet", f"raw-trips/2026/02/{'n' * 300}.parquet"]
    with lake_of(monkeypatch, tmp_path, database_url, TRIPS, store=s3_url) as lake:
        for key in (*good, *bad):
            lake.store.put(key, written.getvalue())

        run(lake)

        assert states(lake, "trips") == dict.fromkeys(good, "SUCCEEDED") | dict.fromkeys(bad, "QUARANTINED")
        assert stored(lake, "trips/") == ["trips/2026/02/a[1]*.json", "trips/2026/02/b.json"]
        assert lake.store.get("trips/2026/02/b.json") == b'{"id":1}\n{"id":2}\n'
        assert sorted(rows(lake, "select id, _source_file from trips")) == [
            (number, key) for number in (1, 2) for key in good
        ]


def test_status_asks_nothing_of_s3(lake: LakeCommand) -> None:
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    assert "events" in LakeCommand(lake.home, {**lake.variables, **away})("status").stdout


def test_without_credentials_the_error_says_so(lake: LakeCommand, tmp_path: Path) -> None:
    none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_CONFIG_FILE": str(tmp_path / "none")}
    none |= {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}

    refused = LakeCommand(lake.home, {**lake.variables, **none})("run", expect=1)

    assert "no AWS credentials were found" in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr
