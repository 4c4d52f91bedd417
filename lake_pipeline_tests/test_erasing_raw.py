"""Erasing raw records: archived files lose just the records of erased rows, and stay what they are to the ledger."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lake_pipeline.audit.audit import audit
from lake_pipeline.audit.listings import StoreListing
from lake_pipeline.audit.scope import Scope
from lake_pipeline.discovery.listing import discover
from lake_pipeline.erasing import begin, finish
from lake_pipeline.errors import ErasureRefused
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.erasure_models import ErasureRow
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, stored
from lake_pipeline_tests.passes import convert

HIS = "user_id = 'x'"
JSON: dict[str, Any] = {**EVENTS, "source": EVENTS["source"] | {"format": "json"}}
TRIPS: dict[str, Any] = {
    "name": "trips",
    "source": {"prefix": "raw/", "format": "parquet"},
    "output": {"prefix": "curated/"},
    "archive": {"action": "move", "prefix": "archive/"},
}


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, store_url: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url, JSON, store=store_url, catalog="duckdb") as opened:
        yield opened


def lake_with(monkeypatch: pytest.MonkeyPatch, home: Path, url: str, **changes: Any) -> Any:
    return lake_of(monkeypatch, home, url, {**JSON, **changes})


def erase(lake: Lake, predicate: str = HIS) -> ErasureRow:
    dataset = lake.datasets["events"]
    return finish(lake, dataset, begin(lake, dataset, predicate, raw=True))


def archived(lake: Lake, name: str) -> bytes:
    """The content of an archived file, wherever in the archive it lies by now."""
    (file,) = [file for file in lake.ledger.files("events", key=f"raw/{name}") if file.status == "SUCCEEDED"]
    assert file.archived_key is not None
    data = lake.store.get(file.archived_key)
    if name.endswith(".gz"):
        return gzip.decompress(data)
    return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read() if name.endswith(".zst") else data


def test_records_of_erased_rows_leave_the_archive_and_all_others_keep_their_text(lake: Lake) -> None:
    lines = [json.dumps(event(n, n=n, user_id="x" if n % 3 == 0 else "y")).encode() for n in range(9)]
    lines[4] = b'{ "id":"e4","DATE" : "2026-02-01", "MODE":"bike", "n": 4.0,\t"user_id": "y" }\r'
    lines.insert(5, b"no record")
    text = b"\n\n".join(lines)
    kept = [line.rstrip() for line in lines if b'"x"' not in line]
    array = [event(n, n=n, user_id="x" if n == 11 else "y") for n in (10, 11, 12)]
    lake.store.put("raw/plain.json", text)
    lake.store.put("raw/packed.json.gz", gzip.compress(text))
    lake.store.put("raw/packed.json.zst", pa.compress(text, "zstd", asbytes=True))
    lake.store.put("raw/array.json", b"\xef\xbb\xbf " + json.dumps(array, indent=1).encode() + b"\n")
    lake.store.put("raw/other.json", json.dumps(event(20, n=20, user_id="y")).encode())
    lake.store.put("raw/his.json", json.dumps(event(21, n=21, user_id="x"), indent=2).encode())
    convert(lake)
    left = sorted(row for row in rows(lake, "select id, n, user_id, _source_file from events") if row[2] != "x")
    other = lake.store.head("archive/other.json")

    ended = erase(lake)

    assert ended.rows_erased == 11
    for name in ("plain.json", "packed.json.gz", "packed.json.zst"):
        assert archived(lake, name).split(b"\n") == [*kept, b""]
    assert json.loads(archived(lake, "array.json")) == [array[0], array[2]]
    assert archived(lake, "his.json") == b""
    assert lake.store.head("archive/other.json") == other
    assert len(stored(lake, "archive/")) == 6
    assert not any(b'"x"' in archived(lake, name) for name in ("plain.json", "packed.json.gz", "array.json"))
    scope = Scope(lake, lake.datasets["events"], StoreListing(lake.store), quick=False, settle_seconds=0)
    assert {found.kind for found in audit(scope)} == {"catalogue_stale"}, "which the next pass mends"
    report = json.loads(lake.store.get(ended.report_key or ""))
    assert {file["key"]: file["records_erased"] for file in report["raw_files_rewritten"]} == {
        "raw/plain.json": 3,
        "raw/packed.json.gz": 3,
        "raw/packed.json.zst": 3,
        "raw/array.json": 1,
        "raw/his.json": 1,
    }
    assert report["not_searched"]["records_in_quarantine"] == 3

    # Known as it landed, and converted from what is left: nothing is new, and nothing comes back.
    assert discover(lake.datasets["events"], lake.store, lake.ledger).new == 0
    lake.ledger.requeue("events", status="SUCCEEDED")
    convert(lake)
    assert sorted(rows(lake, "select id, n, user_id, _source_file from events")) == left
    assert {file.status for file in lake.ledger.files("events")} == {"SUCCEEDED"}
    counts = {
        file.s3_key: (file.rows_read, file.rows_written, file.rows_erased) for file in lake.ledger.files("events")
    }
    assert counts["raw/plain.json"] == (7, 6, 0)
    assert counts["raw/his.json"] == (1, 0, 1)


def test_the_original_that_lands_again_is_known_and_a_new_version_replaces_what_is_left(lake: Lake) -> None:
    records = [event(1, user_id="x"), event(2, user_id="y")]
    land(lake, "raw/a.json", *records)
    convert(lake)
    etag = next(lake.ledger.files("events")).etag
    erase(lake)
    assert [(file.etag, file.status) for file in lake.ledger.files("events")] == [(etag, "SUCCEEDED")]
    if lake.store.root is None:  # of a directory's files each has an ETag of its own
        land(lake, "raw/a.json", *records)
        assert discover(lake.datasets["events"], lake.store, lake.ledger).new == 0

    land(lake, "raw/a.json", event(3, user_id="y"))
    convert(lake)

    assert rows(lake, "select id from events") == [("e3",)]
    assert {file.status for file in lake.ledger.files("events")} == {"SUPERSEDED", "SUCCEEDED"}
    assert len(stored(lake, "archive/")) == 2


def test_superseded_versions_and_records_that_rules_dropped_are_erased_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    rules = {"drop_nulls": ["n"], "deduplicate": {"keys": ["id"], "by": "n"}}
    with lake_with(monkeypatch, tmp_path, database_url, transform=rules) as lake:
        land(lake, "raw/a.json", event(1, n=1, user_id="x"), event(2, n=2, user_id="y"))
        convert(lake)
        land(
            lake,
            "raw/a.json",
            event(1, n=1, user_id="x"),
            event(1, n=3, user_id="y"),
            event(4, n=None, user_id="x"),
            event(5, n=5, user_id="y"),
        )
        land(lake, "raw/b.json", event(6, n=6, user_id="x"), event(7, n=7, user_id="y"))
        convert(lake)
        left = [("e1", 3, "y"), ("e5", 5, "y"), ("e7", 7, "y")]
        dataset = lake.datasets["events"]
        assert finish(lake, dataset, begin(lake, dataset, HIS)).rows_erased == 1
        assert sorted(rows(lake, "select id, n, user_id from events")) == left

        assert erase(lake).rows_erased == 0

        contents = [lake.store.get(key) for key in stored(lake, "archive/")]
        assert len(contents) == 3
        assert not any(b'"x"' in content for content in contents)
        assert sum(content.count(b'"y"') for content in contents) == 4
        lake.ledger.requeue("events", status="SUCCEEDED")
        convert(lake)
        assert sorted(rows(lake, "select id, n, user_id from events")) == left


def test_records_inside_a_document_are_cut_out_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    with lake_with(monkeypatch, tmp_path, database_url, source=JSON["source"] | {"records": "sent.rows"}) as lake:
        records = [event(n, user_id="x" if n < 2 else "y") for n in range(4)]
        document: dict[str, Any] = {"version": 7, "sent": {"by": "me", "rows": records, "count": 4}}
        lake.store.put("raw/a.json", json.dumps(document).encode())
        lake.store.put("raw/b.json", json.dumps({"sent": {"rows": records[:2]}}).encode())
        convert(lake)
        erase(lake)
        assert json.loads(archived(lake, "a.json")) == document | {"sent": document["sent"] | {"rows": records[2:]}}
        assert archived(lake, "b.json") == b""
        lake.ledger.requeue("events", status="SUCCEEDED")
        convert(lake)
        assert sorted(rows(lake, "select id from events")) == [("e2",), ("e3",)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"archive": {"action": "keep"}}, "such as raw/a.json"),
        ({"schema": {"flatten": {"explode": "items"}}}, "flatten.explode"),
    ],
)
def test_what_cannot_be_rewritten_is_refused_before_anything_is_touched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, changes: dict[str, Any], reason: str
) -> None:
    changes |= {"output": {"prefix": "curated/"}}
    with lake_with(monkeypatch, tmp_path, database_url, **changes) as lake:
        land(lake, "raw/a.json", event(1, user_id="x", items=[1, 2]), event(2, user_id="y"))
        convert(lake)
        outputs = lake.ledger.committed_outputs("events")
        with pytest.raises(ErasureRefused, match=reason):
            erase(lake)
        assert lake.ledger.erasures("events") == []
        assert lake.ledger.committed_outputs("events") == outputs


def test_a_record_that_is_too_long_to_be_converted_stays_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    source = JSON["source"] | {"max_record_bytes": "1KiB"}
    with lake_with(monkeypatch, tmp_path, database_url, source=source) as lake:
        long, other = json.dumps(event(1, user_id="y", note="n" * 5000)), json.dumps(event(3, user_id="y"))
        land(lake, "raw/a.json", long, event(2, user_id="x"), other)
        convert(lake)

        assert erase(lake).rows_erased == 1
        assert archived(lake, "a.json").decode().splitlines() == [long, other]


def test_rows_of_parquet_files_go_and_all_else_in_them_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    with lake_of(monkeypatch, tmp_path, database_url, TRIPS) as lake:
        table = pa.table(
            {
                "user_id": ["x", "y", None, "x", "y", "z"],
                "at": pa.array([0, 1, 2, 3, 4, 5], pa.timestamp("ns", "UTC")),
                "price": pa.array([Decimal("1.10")] * 6, pa.decimal128(9, 2)),
                "tags": [["a"], [], None, ["b", "c"], ["d"], ["e"]],
            }
        ).replace_schema_metadata({"made by": "a scanner"})
        for name, rows_of_it in {
            "a": table,
            "b": table.filter(pc.equal(table["user_id"], "x")),
            "c": table[4:],
        }.items():
            pq.write_table(rows_of_it, tmp_path / name, row_group_size=2, compression="gzip")
            lake.store.put(f"raw/{name}.parquet", (tmp_path / name).read_bytes())
        convert(lake, "trips")
        left = rows(lake, "select user_id, price, tags, _source_file from trips where user_id is distinct from 'x'")
        untouched = lake.store.head("archive/c.parquet")

        dataset = lake.datasets["trips"]
        assert finish(lake, dataset, begin(lake, dataset, HIS, raw=True)).rows_erased == 4

        places = {file.s3_key: file.archived_key or "" for file in lake.ledger.files("trips")}
        kept = pq.ParquetFile(io.BytesIO(lake.store.get(places["raw/a.parquet"])))
        assert kept.schema_arrow.equals(pq.read_schema(tmp_path / "a"), check_metadata=True)
        assert kept.read().equals(pq.read_table(tmp_path / "a").take([1, 2, 4, 5]))
        assert kept.metadata.row_group(0).column(0).compression == "GZIP"
        assert lake.store.get(places["raw/b.parquet"]) == b""
        assert lake.store.head(places["raw/c.parquet"]) == untouched
        assert len(stored(lake, "archive/")) == 3

        lake.ledger.requeue("trips", status="SUCCEEDED")
        convert(lake, "trips")
        again = rows(lake, "select user_id, price, tags, _source_file from trips")
        assert sorted(again, key=str) == sorted(left, key=str)


def test_a_parquet_file_that_cannot_be_written_anew_as_it_is_stays_and_is_in_the_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    with lake_of(monkeypatch, tmp_path, database_url, TRIPS) as lake:
        table = pa.table({"user_id": ["x", "y"], "at": pa.array([0, 1], pa.timestamp("ns"))})
        pq.write_table(table, tmp_path / "old", use_deprecated_int96_timestamps=True)
        lake.store.put("raw/old.parquet", (tmp_path / "old").read_bytes())
        convert(lake, "trips")
        dataset = lake.datasets["trips"]
        ended = finish(lake, dataset, begin(lake, dataset, HIS, raw=True))

        assert rows(lake, "select user_id from trips") == [("y",)]
        (why,) = json.loads(lake.store.get(ended.report_key or ""))["not_searched"]["raw_files"].values()
        assert why == "column at has INT96 timestamps, which cannot be written anew as they are"
        assert lake.store.get("archive/old.parquet") == (tmp_path / "old").read_bytes()
