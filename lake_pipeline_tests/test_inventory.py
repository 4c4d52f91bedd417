"""Discovery by S3 Inventory: the three formats, resumed where it was broken off, and old as a report is."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote_plus

import pyarrow as pa
import pytest
from pyarrow import orc, parquet

from lake_pipeline.aws import client
from lake_pipeline.aws_local.resources import make_bucket
from lake_pipeline.dataset import Dataset
from lake_pipeline.discovery.bucket import LakeBucket
from lake_pipeline.discovery.inventory import discover_reported
from lake_pipeline.discovery.listing import Discovered, discover
from lake_pipeline.discovery.report import find_report, parse_manifest
from lake_pipeline.errors import InventoryInvalid, ReportAwaited, StoreError
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.store import Store
from lake_pipeline_tests.ledger_samples import claim, convert

EVENTS = Dataset.model_validate(
    {"name": "events", "source": {"prefix": "raw/", "group": "{year}/{week}/"}, "output": {"prefix": "curated/"}}
)
LANDED = datetime(2026, 2, 1, 12, 30, tzinfo=UTC)
MADE = datetime(2026, 2, 2, tzinfo=UTC)
FORMATS = ("CSV", "Parquet", "ORC")
CSV_SCHEMA = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass"
ORC_SCHEMA = (
    "struct<bucket:string,key:string,version_id:string,is_latest:boolean,is_delete_marker:boolean,size:bigint,"
    "last_modified_date:timestamp,e_tag:string,storage_class:string>"
)
PARQUET_SCHEMA = (
    "message s3.inventory { required binary bucket (UTF8); required binary key (UTF8); optional binary version_id"
    " (UTF8); optional boolean is_latest; optional boolean is_delete_marker; optional int64 size; optional int64"
    " last_modified_date (TIMESTAMP_MILLIS); optional binary e_tag (UTF8); optional binary storage_class (UTF8); }"
)


@dataclass(frozen=True)
class Row:
    """An object version as a report has it; `key` is below the lake's root."""

    key: str
    etag: str = "e"
    size: int = 3
    latest: bool = True
    marker: bool = False
    landed: datetime = LANDED


@dataclass(frozen=True)
class Inventory:
    """Reports on the lake's bucket, written into another one as S3 does."""

    store_url: str
    reports: str
    s3: Any = field(default_factory=lambda: client("s3"))

    @property
    def bucket(self) -> LakeBucket:
        return LakeBucket.of(self.store_url, "an inventory")

    @property
    def folder(self) -> str:
        return f"s3://{self.reports}/inventory/{self.bucket.name}/daily/"

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=self.reports, Key=key, Body=body)

    def write(self, form: str, *files: Sequence[Row], made: datetime = MADE, source: str = "") -> str:
        """A report of these files; the URL of its manifest."""
        listed = []
        for number, rows in enumerate(files):
            body = self._file(form, rows)
            key = f"inventory/{self.bucket.name}/daily/data/{made:%d}-{number}.{form.lower()}"
            self.put(key, body)
            listed.append({"key": key, "size": len(body), "MD5checksum": hashlib.md5(body).hexdigest()})
        manifest = {
            "sourceBucket": source or self.bucket.name,
            "destinationBucket": f"arn:aws:s3:::{self.reports}",
            "version": "2016-11-30",
            "creationTimestamp": str(int(made.timestamp() * 1000)),
            "fileFormat": form,
            "fileSchema": {"CSV": CSV_SCHEMA, "ORC": ORC_SCHEMA, "Parquet": PARQUET_SCHEMA}[form],
            "files": listed,
        }
        text = json.dumps(manifest).encode()
        key = f"inventory/{self.bucket.name}/daily/{made:%Y-%m-%dT%H-%MZ}/manifest"
        self.put(f"{key}.json", text)
        self.put(f"{key}.checksum", hashlib.md5(text).hexdigest().encode())
        return f"s3://{self.reports}/{key}.json"

    def _file(self, form: str, rows: Sequence[Row]) -> bytes:
        if form == "CSV":
            lines = (
                f'"{self.bucket.name}","{quote_plus(self.bucket.prefix + row.key)}","v","{str(row.latest).lower()}",'
                f'"{str(row.marker).lower()}","{row.size}","{row.landed:%Y-%m-%dT%H:%M:%S.000Z}","{row.etag}","STANDARD"\n'
                for row in rows
            )
            return gzip.compress("".join(lines).encode())
        moment = pa.timestamp("ms", "UTC") if form == "Parquet" else pa.timestamp("ns")
        columns = {
            "bucket": pa.array([self.bucket.name] * len(rows), pa.string()),
            "key": pa.array([self.bucket.prefix + row.key for row in rows], pa.string()),
            "version_id": pa.array(["v"] * len(rows), pa.string()),
            "is_latest": pa.array([row.latest for row in rows], pa.bool_()),
            "is_delete_marker": pa.array([row.marker for row in rows], pa.bool_()),
            "size": pa.array([row.size for row in rows], pa.int64()),
            "last_modified_date": pa.array([row.landed.replace(tzinfo=None) for row in rows], moment),
            "e_tag": pa.array([row.etag for row in rows], pa.string()),
            "storage_class": pa.array(["STANDARD"] * len(rows), pa.string()),
        }
        table = pa.table(columns)
        sink = io.BytesIO()
        if form == "Parquet":
            parquet.write_table(table, sink, row_group_size=1000)
        else:
            orc.write_table(table, sink, stripe_size=2**18)
        return sink.getvalue()


@pytest.fixture
def inventory(s3_url: str) -> Inventory:
    reports = make_bucket(f"reports-{LakeBucket.of(s3_url, '').name}").split("/")[2]
    return Inventory(s3_url, reports)


def read(inventory: Inventory, url: str, ledger: Ledger, dataset: Dataset = EVENTS, **budget: Any) -> Discovered:
    store = Store(inventory.store_url)
    return discover_reported(dataset, find_report(url), inventory.bucket, store, ledger, **budget)


def states(ledger: Ledger) -> list[tuple[str, str, str]]:
    return [(file.s3_key, file.etag, file.status) for file in ledger.files("events")]


ODD = ["raw/2026/week07/one file+ü%2F&\"',.json", "raw/ключ/鍵🗝.json", "raw/a%20b", "raw/~(x)*!"]


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_registers_what_lies_below_the_prefix(form: str, inventory: Inventory, ledger: Ledger) -> None:
    rows = [Row(key) for key in ODD]
    others = [Row("curated/x.parquet"), Row("raw/2026/", size=0), Row("rawer/y.json")]
    url = inventory.write(form, rows, others)

    assert read(inventory, url, ledger) == Discovered(listed=5, new=4, skipped=1, complete=True)

    files = list(ledger.files("events"))
    assert sorted(file.s3_key for file in files) == sorted(ODD)
    assert {(file.size, file.etag, file.last_modified, file.status) for file in files} == {(3, "e", LANDED, "PENDING")}
    assert {file.landing_group for file in files} == {"2026/week07", "historical"}


@pytest.mark.parametrize("form", FORMATS)
def test_a_report_of_an_empty_bucket_is_read_to_its_end(form: str, inventory: Inventory, ledger: Ledger) -> None:
    assert read(inventory, inventory.write(form, []), ledger) == Discovered(complete=True)
    assert read(inventory, inventory.write(form), ledger) == Discovered(complete=True)


@pytest.mark.parametrize("form", FORMATS)
def test_of_versions_only_the_latest_counts_and_no_delete_marker(
    form: str, inventory: Inventory, ledger: Ledger
) -> None:
    rows = [
        Row("raw/a", "new"),
        Row("raw/a", "old", latest=False),
        Row("raw/b", "", 0, marker=True),
        Row("raw/b", "old", latest=False),
    ]
    assert read(inventory, inventory.write(form, rows), ledger).new == 1
    assert states(ledger) == [("raw/a", "new", "PENDING")]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_a_reading_that_is_broken_off_goes_on_inside_of_a_file(form: str, inventory: Inventory, ledger: Ledger) -> None:
    rows = 3_000 if form == "ORC" else 12_000  # Arrow writes ORC in stripes of about a thousand rows
    files = [[Row(f"raw/{number}/{row:05}") for row in range(rows)] for number in range(2)]
    url = inventory.write(form, *files)
    seen: list[int] = []
    total = 0
    while True:
        found = read(inventory, url, ledger, most=1)  # so a batch each time
        total += found.new
        seen.append(found.listed)
        if found.complete:
            break

    assert (total, sum(seen), ledger.status()["events"]["PENDING"]) == (2 * rows,) * 3
    assert len([listed for listed in seen if listed]) >= 4
    assert read(inventory, url, ledger) == Discovered(complete=True)  # once read, not read again


def test_a_key_that_was_archived_meanwhile_is_no_new_file(inventory: Inventory, ledger: Ledger) -> None:
    store = Store(inventory.store_url)
    landed = store.put("raw/2026/week07/a.json", b"[1]")
    discover(EVENTS, store, ledger)
    url = inventory.write("CSV", [Row(landed.key, landed.etag)])
    convert(ledger, claim(ledger).manifest_id)
    store.move(landed.key, "archive/a.json")

    assert read(inventory, url, ledger) == Discovered(listed=1, known=1, complete=True)
    assert states(ledger) == [(landed.key, landed.etag, "SUCCEEDED")]


def test_an_old_report_does_not_bring_back_a_version_that_was_replaced_since(
    inventory: Inventory, ledger: Ledger
) -> None:
    store = Store(inventory.store_url)
    new = store.put("raw/a.json", b"[1, 2]")
    discover(EVENTS, store, ledger)
    url = inventory.write("CSV", [Row("raw/a.json", "old")])

    assert read(inventory, url, ledger) == Discovered(listed=1, known=1, complete=True)
    assert states(ledger) == [("raw/a.json", new.etag, "PENDING")]


def test_a_new_version_that_no_event_told_of_is_found_by_what_lies_there(inventory: Inventory, ledger: Ledger) -> None:
    store = Store(inventory.store_url)
    old = store.put("raw/a.json", b"[1]")
    discover(EVENTS, store, ledger)
    new = store.put("raw/a.json", b"[1, 2]")
    url = inventory.write("CSV", [Row("raw/a.json", new.etag)])

    assert read(inventory, url, ledger).new == 1
    assert states(ledger) == [("raw/a.json", old.etag, "SUPERSEDED"), ("raw/a.json", new.etag, "PENDING")]


def test_a_listing_under_way_is_not_disturbed(inventory: Inventory, ledger: Ledger) -> None:
    store = Store(inventory.store_url)
    for key in ("raw/a", "raw/b", "raw/c"):
        store.put(key, b"[1]")
    assert not discover(EVENTS, store, ledger, page=1, most=1).complete
    read(inventory, inventory.write("CSV", [Row("raw/x")]), ledger)

    assert ledger.cursor("events") == "raw/a"
    assert discover(EVENTS, store, ledger) == Discovered(listed=2, new=2, complete=True)


def test_the_newest_complete_report_of_a_folder_is_the_one_that_is_read(inventory: Inventory, ledger: Ledger) -> None:
    inventory.write("CSV", [Row("raw/old")])
    url = inventory.write("CSV", [Row("raw/new")], made=MADE + timedelta(days=1))

    assert find_report(inventory.folder).url == url
    assert read(inventory, inventory.folder, ledger).new == 1
    assert states(ledger) == [("raw/new", "e", "PENDING")]


def test_a_folder_without_a_report_says_what_would_be_there(inventory: Inventory) -> None:
    with pytest.raises(ReportAwaited, match=r"no folder such as 2026-02-01T01-00Z .* up to 48 hours"):
        find_report(inventory.folder)
    # Neither what was named and is gone, nor a bucket that is not there, mends itself.
    for missing in (f"{inventory.folder}2026-02-01T01-00Z/manifest.json", "s3://nobodys-reports/daily/"):
        with pytest.raises(StoreError):
            find_report(missing)


def test_a_report_that_cannot_be_trusted_is_refused_before_anything_is_registered(
    inventory: Inventory, ledger: Ledger
) -> None:
    url = inventory.write("CSV", [Row("raw/a")])
    manifest = url.split("/", 3)[3]
    inventory.put(f"inventory/{inventory.bucket.name}/daily/data/02-0.csv", gzip.compress(b"cut off"))
    with pytest.raises(InventoryInvalid, match=r"02-0\.csv has the MD5 .*, the manifest says"):
        read(inventory, url, ledger)

    inventory.put(manifest, b"{}")
    with pytest.raises(InventoryInvalid, match=r"is not the manifest that manifest\.checksum was made of"):
        find_report(url)
    inventory.s3.delete_object(Bucket=inventory.reports, Key=manifest.replace(".json", ".checksum"))
    with pytest.raises(InventoryInvalid, match=r"no manifest\.checksum beside it"):
        find_report(url)

    with pytest.raises(InventoryInvalid, match="of the bucket other"):
        read(inventory, inventory.write("CSV", [Row("raw/a")], source="other"), ledger)
    assert states(ledger) == []


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_is_not_of_its_format_is_named(form: str, inventory: Inventory, ledger: Ledger) -> None:
    url = inventory.write(form, [Row("raw/a")])
    report = find_report(url)
    wrong = b"neither gzip nor Parquet nor ORC"
    inventory.put(report.files[0].key, wrong)
    report = replace(report, files=(replace(report.files[0], md5=hashlib.md5(wrong).hexdigest()),))
    with pytest.raises(InventoryInvalid, match=report.files[0].key):
        discover_reported(EVENTS, report, inventory.bucket, Store(inventory.store_url), ledger)


def test_a_report_older_than_the_ledgers_memory_is_refused(inventory: Inventory, ledger: Ledger) -> None:
    forgetful = EVENTS.model_copy(
        update={"retention": EVENTS.retention.model_copy(update={"file_records": timedelta(1)})}
    )
    old = inventory.write("CSV", [Row("raw/a")])
    with pytest.raises(InventoryInvalid, match="events forgets files sooner"):
        read(inventory, old, ledger, forgetful)
    new = inventory.write("CSV", [Row("raw/a")], made=datetime.now(UTC) - timedelta(hours=2))
    assert read(inventory, new, ledger, forgetful).new == 1


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (b"hello", "JSON is malformed"),
        (b"{}", "missing required field `sourceBucket`"),
        (
            b'{"sourceBucket":"b","creationTimestamp":"1","fileFormat":"CSV","fileSchema":"Key, Size","files":[]}',
            "no lastmodifieddate, etag; give the inventory the optional fields Size, LastModifiedDate and ETag",
        ),
        (
            b'{"sourceBucket":"b","creationTimestamp":"soon","fileFormat":"CSV","fileSchema":"Key","files":[]}',
            "invalid literal for int",
        ),
        (
            b'{"sourceBucket":"b","creationTimestamp":"1","fileFormat":"XML","fileSchema":"Key","files":[]}',
            "Invalid enum value 'XML'",
        ),
    ],
)
def test_a_manifest_that_cannot_be_used_says_why(manifest: bytes, why: str) -> None:
    with pytest.raises(InventoryInvalid) as error:
        parse_manifest(manifest, "s3://reports/manifest.json")
    assert why in str(error.value)


@pytest.mark.parametrize(
    "url", ["manifest.json", "/tmp/manifest.json", "s3://reports", "https://reports/manifest.json"]
)
def test_a_place_that_is_not_in_s3_is_refused(url: str) -> None:
    with pytest.raises(InventoryInvalid, match="neither s3://"):
        find_report(url)
