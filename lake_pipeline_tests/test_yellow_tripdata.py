"""The bundled `yellow_tripdata`, from a month of Parquet to a file of JSON lines and its record."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import lake_pipeline
from lake_pipeline.catalog.duckdb import refresh, refresh_if_stale
from lake_pipeline.discovery.listing import discover
from lake_pipeline.engines.run import run_task
from lake_pipeline.engines.task import Task, read_results
from lake_pipeline.errors import LeaseLost, QueryError, StoreError
from lake_pipeline.lake import Lake
from lake_pipeline.planning import plan
from lake_pipeline.preview import preview_schema
from lake_pipeline.progress import finish_interrupted
from lake_pipeline.publishing import publish, release
from lake_pipeline.samples import SampleFile, generate
from lake_pipeline.settings import BUNDLED_DATASETS
from lake_pipeline_tests.command_line import LakeCommand
from lake_pipeline_tests.killing import kill_when, start_run
from lake_pipeline_tests.lakes import lake_of, rows, run, states, stored

DECLARATION: dict[str, Any] = yaml.safe_load((BUNDLED_DATASETS / "yellow_tripdata.yaml").read_text())
TRIPS: dict[str, Any] = {
    "name": "trips",
    "batch": {"max_retries": 1},
    "source": {"prefix": "raw-trips/", "format": "parquet", "group": "{year}/{month}/"},
    "output": {"prefix": "trips/", "format": "json", "files": "one_to_one"},
}
NAME = "yellow_tripdata"
TINY = "raw-data/2025/08/03/tiny.parquet"


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url, TRIPS) as opened:
        yield opened


@dataclass(frozen=True)
class Months:
    """A lake with the samples in it and a file that is too small, after a run."""

    lake: Lake
    samples: dict[str, SampleFile]
    began: datetime
    command: LakeCommand


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory, shared_database_url: str) -> Iterator[Months]:
    home = tmp_path_factory.mktemp("months")
    # One manifest for the year; a folder each, as declared, is what `lake demo` shows.
    declaration = DECLARATION | {"source": DECLARATION["source"] | {"group": "{year}/"}}
    with pytest.MonkeyPatch.context() as patch, lake_of(patch, home, shared_database_url, declaration) as opened:
        samples = {sample.key: sample for sample in generate(NAME, opened.store, scale=0.05)}
        opened.store.put(TINY, parquet(VendorID=[1]))
        began = datetime.now(UTC) - timedelta(seconds=1)
        run(opened)
        variables = {"LAKE_DATABASE_URL": shared_database_url, "LAKE_DATASETS": os.environ["LAKE_DATASETS"]}
        yield Months(opened, samples, began, LakeCommand(home, variables))


def parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def lines(lake: Lake, key: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lake.store.get(key).decode().splitlines()]


def told(value: Any) -> Any:
    """What a line says of a value that pyarrow reads from the raw file."""
    return value.isoformat(timespec="seconds") + "Z" if isinstance(value, datetime) else value


def test_every_month_becomes_one_file_of_json_lines_under_its_own_name(months: Months) -> None:
    lake = months.lake
    assert {key: state for key, state in states(lake, NAME).items() if key in months.samples} == {
        key: sample.status for key, sample in months.samples.items()
    }
    good = [key for key, sample in months.samples.items() if sample.status == "SUCCEEDED"]
    assert stored(lake, "processed-data/") == [
        key.replace("raw-data/", "processed-data/").replace(".parquet", ".json") for key in good
    ]
    columns = set[str]()
    for key in good:
        wanted = pq.read_table(io.BytesIO(lake.store.get(key))).to_pylist()
        found = lines(lake, key.replace("raw-data/", "processed-data/").replace(".parquet", ".json"))
        columns |= set(wanted[0])
        assert [{name: told(value) for name, value in trip.items()} for trip in wanted] == [
            {name: value for name, value in line.items() if value is not None or name in wanted[0]} for line in found
        ]
        assert "_source_file" not in found[0]
    assert "cbd_congestion_fee" in columns
    assert stored(lake, "_staging/") == []


def test_files_of_another_format_size_or_schema_are_quarantined_with_the_reason(months: Months) -> None:
    reasons = {
        Path(file.s3_key).name: file.error_message
        for file in months.lake.ledger.files(NAME)
        if file.status == "QUARANTINED"
    }
    assert set(reasons) == {
        *(f"yellow_tripdata_2025-{month}.parquet" for month in ("04", "05", "06")),
        "tiny.parquet",
    }
    assert "cut off" in (reasons["yellow_tripdata_2025-04.parquet"] or "")
    assert reasons["yellow_tripdata_2025-05.parquet"] == (
        "not the columns of source.expect: no column tpep_pickup_datetime"
    )
    assert "not Parquet: it starts with b'Vend'" in (reasons["yellow_tripdata_2025-06.parquet"] or "")
    assert "source.expect.min_bytes is 1,024" in (reasons["tiny.parquet"] or "")


def test_the_table_has_the_schemas_types_and_says_which_file_each_row_is_of(months: Months) -> None:
    lake = months.lake

    described = {name: kind for name, kind, *_ in rows(lake, f"describe {NAME}")}

    assert described["VendorID"] == "BIGINT"
    assert described["passenger_count"] == "DOUBLE"
    assert described["tpep_pickup_datetime"] == "TIMESTAMP WITH TIME ZONE"
    assert described["airport_fee"] == "DOUBLE"
    assert rows(
        lake,
        f"select _source_file, count(*), min(tpep_pickup_datetime) >= '2025-01-01' from {NAME} group by 1 order by 1",
    ) == [
        (f"raw-data/2025/{month + 2:02}/03/yellow_tripdata_2025-{month:02}.parquet", 150, True) for month in (1, 2, 3)
    ]


def test_each_file_has_a_record_of_just_the_stated_fields(months: Months) -> None:
    command, samples = months.command, months.samples

    records = command.json_lines("files", NAME, "--metadata")

    assert [record["source_path"] for record in records] == sorted([*samples, TINY])
    for record in records:
        assert list(record) == [
            *("file_id", "source_path", "output_path", "status", "started_at", "ended_at", "record_count"),
            *("file_size_bytes", "error_message", "created_at", "updated_at"),
        ]
        if record["source_path"] == TINY:
            continue
        sample = samples[record["source_path"]]
        good = sample.status == "SUCCEEDED"
        output = sample.key.replace("raw-data/", "processed-data/").replace(".parquet", ".json")
        assert (record["output_path"], record["status"]) == (output if good else None, sample.status)
        assert (record["record_count"] or 0, record["file_size_bytes"]) == (sample.rows_written, sample.size)
        assert (record["error_message"] is None) == good
        times = [
            datetime.fromisoformat(record[name]) for name in ("created_at", "started_at", "ended_at", "updated_at")
        ]
        assert months.began <= times[0] <= times[1] <= times[2] == times[3]
    shown = command("files", NAME, "--metadata").stdout
    assert shown.splitlines()[0].split() == list(records[0])
    assert command("files", NAME, "--metadata", "--status", "FAILED").stderr.strip() == "no file matches"


def test_a_new_version_of_a_month_replaces_its_file(lake: Lake) -> None:
    lake.store.put("raw-trips/2026/01/a.parquet", parquet(n=[1, 2]))
    lake.store.put("raw-trips/2026/01/b.parquet", parquet(n=[3]))
    run(lake)
    lake.store.put("raw-trips/2026/01/a.parquet", parquet(n=[10], fee=[0.5]))

    run(lake)

    assert lines(lake, "trips/2026/01/a.json") == [{"n": 10, "fee": 0.5}]
    assert lines(lake, "trips/2026/01/b.json") == [{"n": 3, "fee": None}]
    assert rows(lake, "select n, fee from trips order by n") == [(3, None), (10, 0.5)]
    current = [record for record in lake.ledger.file_metadata("trips") if record.output_paths]
    assert [(record.source_path, record.record_count) for record in current] == [
        ("raw-trips/2026/01/a.parquet", 1),
        ("raw-trips/2026/01/b.parquet", 1),
    ]


def test_a_month_that_lands_again_cut_off_leaves_the_old_file_in_place(lake: Lake) -> None:
    whole = parquet(n=list(range(1000)))
    lake.store.put("raw-trips/2026/01/a.parquet", whole)
    run(lake)
    lake.store.put("raw-trips/2026/01/a.parquet", whole[:-20])

    run(lake)

    assert states(lake, "trips") == {"raw-trips/2026/01/a.parquet": "QUARANTINED"}
    assert len(lines(lake, "trips/2026/01/a.json")) == 1000


def test_a_file_without_rows_becomes_a_file_without_lines(lake: Lake) -> None:
    lake.store.put("raw-trips/2026/01/none.parquet", parquet(n=pa.array([], pa.int32())))
    run(lake)
    assert lake.store.get("trips/2026/01/none.json") == b""
    assert rows(lake, "select n from trips") == []


def test_names_that_are_patterns_elsewhere_are_names_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    extracts = [{"name": "names", "sql": "select n from trips"}]
    declared = TRIPS | {"checks": {"required": ["n"]}, "extracts": extracts}
    names = ["a1", "a[1]*?'", "ü b"]
    with lake_of(monkeypatch, tmp_path, database_url, declared) as lake:
        for name in names:
            lake.store.put(f"raw-trips/{name}.parquet", parquet(n=[name]))
        run(lake)
        assert sorted(rows(lake, "select n, _source_file from trips")) == [
            (name, f"raw-trips/{name}.parquet") for name in names
        ]
        assert sorted(rows(lake, "select n from trips_names")) == [(name,) for name in names]


def test_a_name_that_does_not_end_in_parquet_has_none_as_json(lake: Lake) -> None:
    lake.store.put("raw-trips/a.parquet", parquet(n=[1]))
    lake.store.put("raw-trips/a", parquet(n=[2]))
    run(lake)
    assert states(lake, "trips") == {"raw-trips/a": "QUARANTINED", "raw-trips/a.parquet": "SUCCEEDED"}
    assert stored(lake, "trips/") == ["trips/a.json"]


def test_open_table_says_that_json_lines_are_no_parquet(lake: Lake) -> None:
    lake.store.put("raw-trips/a.parquet", parquet(n=[1]))
    run(lake)
    with pytest.raises(QueryError, match="trips is kept as JSON lines, not as Parquet; an extract"):
        lake_pipeline.open_table("trips")


def test_an_extract_of_json_lines_is_parquet_with_the_same_values(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    cheap = {"name": "cheap", "sql": "select n, fee from trips where fee < 1"}
    with lake_of(monkeypatch, tmp_path, database_url, TRIPS | {"extracts": [cheap]}) as lake:
        lake.store.put("raw-trips/a.parquet", parquet(n=[1, 2**53 + 1], fee=[1.5, 0.1]))
        run(lake)
        assert rows(lake, "select n, fee from trips_cheap") == [(2**53 + 1, 0.1)]


def test_a_table_has_files_of_one_format(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> None:
    with lake_of(monkeypatch, tmp_path, database_url, TRIPS | {"output": {"prefix": "trips/"}}) as lake:
        lake.store.put("raw-trips/a.parquet", parquet(n=[1]))
        run(lake)
    with lake_of(monkeypatch, tmp_path, database_url, TRIPS) as lake:
        lake.store.put("raw-trips/b.parquet", parquet(n=[2]))
        run(lake)
        assert rows(lake, "select n from trips") == [(1,)]
        (file,) = (file for file in lake.ledger.files("trips") if file.status == "FAILED")
        assert (file.error_message or "").endswith(
            "trips/historical.0001-a1-0.parquet: declare another dataset, or put the format back"
        )


def test_a_check_sees_the_rows_of_json_lines_and_where_they_come_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    checked = TRIPS | {"checks": {"ranges": {"n": {"max": 1}}, "required": ["n"], "blocking": ["ranges"]}}
    with lake_of(monkeypatch, tmp_path, database_url, checked) as lake:
        lake.store.put("raw-trips/a.parquet", parquet(n=[1, 2, None]))
        run(lake)
        (file,) = lake.ledger.files("trips")
        assert file.status == "FAILED"
        assert "ranges: 1 rows offend" in (file.error_message or "")
        assert '"_source_file": "raw-trips/a.parquet"' in (file.error_message or "")
        assert stored(lake, "trips/") == []


def test_a_preview_says_what_parquet_would_add_and_what_would_not_fit(lake: Lake) -> None:
    lake.store.put("raw-trips/a.parquet", parquet(n=[1]))
    run(lake)
    lake.store.put("raw-trips/b.parquet", parquet(n=["x"], fee=[0.5]))
    lake.store.put("raw-trips/c.parquet", b"PAR1")

    found = preview_schema(lake, lake.datasets["trips"])

    assert [(change.column, change.type) for change in found.added] == [("fee", "double")]
    assert [(item.path, item.kind, item.example) for item in found.conflicts] == [
        ("n", "string", "raw-trips/b.parquet")
    ]
    assert found.unreadable == {"raw-trips/c.parquet": "too short for Parquet: 4 bytes"}


# ---- killed and overtaken


def test_a_run_killed_at_work_leaves_old_files_or_new_ones_and_the_next_run_ends_it(lake: Lake) -> None:
    keys = [f"2026/01/{number:03}" for number in range(60)]
    for key in keys:
        lake.store.put(f"raw-trips/{key}.parquet", parquet(n=list(range(500))))

    kill_when(lambda: bool(stored(lake, "trips/")), start_run("trips"))

    for key in stored(lake, "trips/"):
        assert [line["n"] for line in lines(lake, key)] == list(range(500))
    assert start_run("trips").wait(timeout=120) == 0
    assert stored(lake, "trips/") == [f"trips/{key}.json" for key in keys]
    assert rows(lake, "select count(*), count(distinct _source_file || n) from trips") == [(30_000, 30_000)]
    assert stored(lake, "_staging/") == []
    assert lake.ledger.manifests_to_release("trips") == []


def converted(lake: Lake) -> Task:
    """A first attempt at the only manifest, which has staged its file when its lease runs out."""
    dataset = lake.datasets["trips"]
    discover(dataset, lake.store, lake.ledger)
    (manifest,) = plan(dataset, lake.ledger, lake.store, now=datetime.now(UTC), flush=True, max_manifests=1)
    task = Task(
        declaration=dataset.model_dump(mode="json", by_alias=True),
        manifest_id=manifest.manifest_id,
        attempt=lake.ledger.begin_attempt("trips", manifest.manifest_id, "another machine", timedelta(0)),
        schema=lake.schema("trips").to_json(),
        store_url=lake.settings.store_url,
        threads=1,
        memory="256MiB",
    )
    run_task(task, lambda _: None)
    return task


def test_an_attempt_that_was_overtaken_leaves_the_name_to_the_one_that_was_committed(lake: Lake) -> None:
    lake.store.put("raw-trips/a.parquet", parquet(n=["old"]))
    overtaken = converted(lake)
    results = read_results(lake.store, overtaken)
    lake.store.put("raw-trips/a.parquet", parquet(n=["new"]))
    run(lake)
    assert lines(lake, "trips/a.json") == [{"n": "new"}]

    with pytest.raises(LeaseLost):
        publish(overtaken, results, lake.store, lake.ledger)
    release("trips", overtaken.manifest_id, lake.store, lake.ledger)

    assert lines(lake, "trips/a.json") == [{"n": "new"}]
    assert rows(lake, "select n from trips") == [("new",)]


def test_a_name_keeps_its_content_until_other_content_is_committed(lake: Lake) -> None:
    lake.store.put("raw-trips/a.parquet", parquet(n=["old"]))
    run(lake)
    lake.store.put("raw-trips/a.parquet", parquet(n=["new"]))
    discover(lake.datasets["trips"], lake.store, lake.ledger)
    (manifest,) = lake.ledger.manifests("trips")
    lake.ledger.begin_attempt("trips", manifest.manifest_id, "another machine", timedelta(0))

    finish_interrupted(lake, lake.datasets["trips"])

    assert lines(lake, "trips/a.json") == [{"n": "old"}]
    assert rows(lake, "select n from trips") == [("old",)]


def test_a_commit_whose_files_could_not_be_given_their_names_is_finished_by_the_next_run(lake: Lake) -> None:
    lake.store.put("raw-trips/2026/01/a.parquet", parquet(n=[1]))
    lake.store.put("trips/2026", b"a file where a folder must be")
    with pytest.raises(StoreError, match="Not a directory"):
        run(lake)
    (manifest,) = lake.ledger.manifests("trips")
    assert manifest.state == "COMMITTED"
    assert lake.ledger.manifests_to_release("trips") == [manifest.manifest_id]
    assert stored(lake, "_staging/trips/")
    lake.store.delete(["trips/2026"])
    refresh(lake, lake.datasets["trips"])
    assert rows(lake, "select n from trips") == []

    run(lake)

    assert lines(lake, "trips/2026/01/a.json") == [{"n": 1}]
    assert rows(lake, "select n from trips") == [(1,)]
    assert lake.ledger.manifests_to_release("trips") == []
    assert stored(lake, "_staging/") == []


def test_files_that_got_their_names_after_another_refresh_are_shown_by_the_next_pass(lake: Lake) -> None:
    lake.store.put("raw-trips/2026/01/a.parquet", parquet(n=[1]))
    lake.store.put("trips/2026", b"a file where a folder must be")
    with pytest.raises(StoreError, match="Not a directory"):
        run(lake)
    lake.store.delete(["trips/2026"])
    refresh(lake, lake.datasets["trips"])  # another manifest's
    assert rows(lake, "select n from trips") == []
    (manifest,) = lake.ledger.manifests("trips")

    release("trips", manifest.manifest_id, lake.store, lake.ledger)  # and who did it was killed
    refresh_if_stale(lake, lake.datasets["trips"])

    assert rows(lake, "select n from trips") == [(1,)]
