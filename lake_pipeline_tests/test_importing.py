"""`lake import`: what an old system has done is not done again, and the ledger, its audit and its repairs hold."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake_pipeline.audit.audit import audit
from lake_pipeline.audit.listings import StoreListing
from lake_pipeline.audit.scope import Scope
from lake_pipeline.erasing import begin, finish
from lake_pipeline.errors import ImportInvalid, LedgerError, SettingsError
from lake_pipeline.importing.importing import Imported, import_files
from lake_pipeline.importing.judging import Found, judge
from lake_pipeline.importing.loading import Old, loaded
from lake_pipeline.importing.old_files import DONE, OldFile, Wanted, choose_columns, old_prefixes
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.audit_models import KnownVersion
from lake_pipeline.rebuild.dataset import rebuild_dataset
from lake_pipeline.settings import load_settings
from lake_pipeline.store import StoredObject
from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.failing import armed
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, states, stored
from lake_pipeline_tests.ledgers import contents, work

LATER = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    """A lake with four files of two weeks, and one more that an old system has archived."""
    yield from lake_at(monkeypatch, tmp_path, database_url, "")


@pytest.fixture
def lake_on_s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, s3_url: str) -> Iterator[Lake]:
    """The same in S3."""
    yield from lake_at(monkeypatch, tmp_path, database_url, s3_url)


def lake_at(monkeypatch: pytest.MonkeyPatch, home: Path, database_url: str, store: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, home, database_url, store=store) as opened:
        for week, names in (("week07", "abc"), ("week08", "d")):
            for number, name in enumerate(names):
                land(opened, f"raw/2026/{week}/{name}.json", event(number))
        opened.store.put("archive/2026/week06/z.json", b"{}\n")
        yield opened


def old_rows(lake: Lake, **states: str) -> list[dict[str, str]]:
    """Rows of an old table, by the files' names."""
    keys = {key.rpartition("/")[2].removesuffix(".json"): key for key in stored(lake, "raw/")}
    keys["z"] = "raw/2026/week06/z.json"
    return [{"s3_key": keys.get(name, f"raw/{name}.json"), "status": state} for name, state in states.items()]


def write_csv(path: Path, records: list[dict[str, Any]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    return str(path)


def take(lake: Lake, source: str | None, *, dry_run: bool = False, **more: Any) -> Imported:
    old = Old(source, "file_processing_status", **{"wanted": Wanted(), "done": DONE, "key_prefix": None, **more})
    with loaded(load_settings(), lake.datasets["events"], old) as (table, _):
        return import_files(lake, lake.datasets["events"], table.files(), dry_run=dry_run)


def read(lake: Lake, source: str | None, **more: Any) -> list[OldFile]:
    old = Old(source, "file_processing_status", **{"wanted": Wanted(), "done": DONE, "key_prefix": None, **more})
    with loaded(load_settings(), lake.datasets["events"], old) as (table, _):
        return list(table.files())


def differences(lake: Lake) -> list[str]:
    """What an audit finds after a run has tidied up, and what the ledger contradicts itself in."""
    dataset = lake.datasets["events"]
    scope = Scope(lake, dataset, StoreListing(lake.store), quick=False, settle_seconds=0)
    found = [f"{each.kind} {each.subject} {each.detail}" for each in audit(scope)]
    return found + [str(each) for each in lake.ledger.invariant_violations("events")]


def test_what_is_done_is_not_converted_again_and_everything_else_is(lake: Lake, tmp_path: Path) -> None:
    source = write_csv(
        tmp_path / "old.csv", old_rows(lake, a="COMPLETED", b="failed", d="completed", z="COMPLETED", gone="COMPLETED")
    )
    expected = {"done": 3, "known": 0, "waiting": 1, "changed": 0, "new": 1, "missing": 1}

    before = lake.ledger.status()
    assert take(lake, source, dry_run=True).files == expected
    assert (lake.ledger.status(), list(lake.ledger.manifests("events"))) == (before, [])

    found = take(lake, source)
    assert (found.files, found.manifests, found.examples["missing"]) == (expected, 3, ["raw/gone.json"])
    assert states(lake) == {
        "raw/2026/week06/z.json": "SUCCEEDED",
        "raw/2026/week07/a.json": "SUCCEEDED",
        "raw/2026/week07/b.json": "PENDING",
        "raw/2026/week07/c.json": "PENDING",
        "raw/2026/week08/d.json": "SUCCEEDED",
    }
    assert {row.landing_group: (row.state, row.metrics) for row in lake.ledger.manifests("events")} == {
        f"2026/week0{week}": ("COMMITTED", {"imported": True}) for week in (6, 7, 8)
    }
    assert lake.ledger.untold("events", 10) == []

    again = take(lake, source)
    assert (again.files["done"], again.files["known"], again.manifests) == (0, 3, 0)

    work(lake)
    assert rows(lake, "select _source_file from events order by 1") == [
        ("raw/2026/week07/b.json",),
        ("raw/2026/week07/c.json",),
    ]
    assert stored(lake, "raw/") == []
    assert differences(lake) == []


def test_a_requeue_of_an_imported_manifest_converts_its_files(lake: Lake, tmp_path: Path) -> None:
    take(lake, write_csv(tmp_path / "old.csv", old_rows(lake, a="done", b="done", c="done", d="done", z="done")))
    work(lake)
    assert lake.ledger.requeue("events", group="2026/week07").files == 3
    work(lake)
    assert rows(lake, "select count(*), count(distinct _source_file) from events") == [(3, 3)]
    (manifest,) = (row for row in lake.ledger.manifests("events") if row.landing_group == "2026/week07")
    assert "imported" not in (manifest.metrics or {})
    assert differences(lake) == []


def test_a_new_version_of_an_imported_file_is_converted_without_those_imported_with_it(
    lake: Lake, tmp_path: Path
) -> None:
    take(lake, write_csv(tmp_path / "old.csv", old_rows(lake, a="done", b="done", c="done", d="done", z="done")))
    work(lake)
    land(lake, "raw/2026/week07/a.json", event(70), event(71))
    work(lake)
    assert rows(lake, "select distinct _source_file from events") == [("raw/2026/week07/a.json",)]
    assert [file.status for file in lake.ledger.files("events", key="raw/2026/week07/a.json")] == [
        "SUPERSEDED",
        "SUCCEEDED",
    ]
    assert differences(lake) == []


def test_a_ledger_that_is_rebuilt_knows_what_was_imported(lake: Lake, tmp_path: Path, database_url: str) -> None:
    take(lake, write_csv(tmp_path / "old.csv", old_rows(lake, a="done", b="failed", c="done", d="done", z="done")))
    work(lake)
    land(lake, "raw/2026/week07/c.json", event(70), event(71))
    work(lake)
    before = contents(database_url)
    rebuilt = rebuild_dataset(lake, lake.datasets["events"])
    assert rebuilt.findings == []
    assert contents(database_url) == before
    work(lake)
    assert rows(lake, "select count(*) from events") == [(3,)]
    assert differences(lake) == []


def test_an_erasure_says_that_imported_files_were_not_searched(lake: Lake, tmp_path: Path) -> None:
    take(lake, write_csv(tmp_path / "old.csv", old_rows(lake, a="done", b="failed", z="done")))
    work(lake)
    dataset = lake.datasets["events"]
    done = finish(lake, dataset, begin(lake, dataset, "id = 'e1'", raw=True))
    assert done.rows_erased == 1
    assert lake.store.get_json(done.report_key or "")["not_searched"]["files_imported"] == 2
    work(lake)
    assert differences(lake) == []


def test_an_import_that_is_broken_off_anywhere_is_finished_by_the_next(lake: Lake, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "old.csv", old_rows(lake, a="done", b="done", c="failed", d="done", z="done"))
    for point in ("import.importing", "import.imported", "record.written"):
        with armed(f"{point}=ledger"), pytest.raises(LedgerError, match=point):
            take(lake, source)
        assert lake.ledger.status().get("events", {}).get("SUCCEEDED", 0) == (0 if point == "import.importing" else 4)
    take(lake, source)
    assert len(lake.ledger.manifests("events")) == 3
    work(lake)
    assert rows(lake, "select distinct _source_file from events") == [("raw/2026/week07/c.json",)]
    assert differences(lake) == []


def test_manifests_are_no_larger_than_the_declaration_allows(lake: Lake, tmp_path: Path) -> None:
    small = lake.datasets["events"].model_copy(
        update={"batch": lake.datasets["events"].batch.model_copy(update={"max_files": 2})}
    )
    lake.datasets["events"] = small
    assert take(lake, write_csv(tmp_path / "old.csv", old_rows(lake, a="done", b="done", c="done"))).manifests == 2


def test_a_file_that_landed_anew_since_it_was_done_is_pending(lake: Lake, tmp_path: Path) -> None:
    etag = lake.store.head("raw/2026/week07/a.json").etag
    records = [
        {"s3_key": "raw/2026/week07/a.json", "status": "done", "etag": f'"{etag}"', "processed_at": ""},
        {"s3_key": "raw/2026/week07/b.json", "status": "done", "etag": "another", "processed_at": ""},
        {"s3_key": "raw/2026/week07/c.json", "status": "done", "etag": "", "processed_at": "2001-01-01 00:00:00"},
        {"s3_key": "raw/2026/week08/d.json", "status": "done", "etag": "", "processed_at": LATER.isoformat()},
    ]
    found = take(lake, write_csv(tmp_path / "old.csv", records))
    assert found.examples["changed"] == ["raw/2026/week07/b.json", "raw/2026/week07/c.json"]
    assert [key for key, state in states(lake).items() if state == "SUCCEEDED"] == [
        "raw/2026/week07/a.json",
        "raw/2026/week08/d.json",
    ]


def export(folder: Path, items: list[dict[str, Any]]) -> str:
    """An export of a DynamoDB table to S3, as its developer guide describes it."""
    data = folder / "AWSDynamoDB/01-abc/data"
    data.mkdir(parents=True)
    lines = []
    for number, some in enumerate((items[:2], items[2:])):
        body = gzip.compress("".join(json.dumps({"Item": item}) + "\n" for item in some).encode())
        (data / f"f{number}.json.gz").write_bytes(body)
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        key = f"AWSDynamoDB/01-abc/data/f{number}.json.gz"
        lines.append({"itemCount": len(some), "md5Checksum": md5, "etag": "x", "dataFileS3Key": key})
    (data.parent / "manifest-files.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (data.parent / "manifest-summary.json").write_text("{}")
    return str(folder)


def test_a_table_may_be_csv_json_parquet_dynamodb_or_postgres(
    lake: Lake, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[dict[str, Any]] = [
        {"s3_key": "raw/ü'\".json", "status": "COMPLETED", "etag": "0012", "processed_at": "2026-02-01 10:00:00+02"},
        {"s3_key": "raw/b.json", "status": "FAILED", "etag": None, "processed_at": None},
        {"s3_key": "raw/c.json", "status": "COMPLETED", "etag": None, "processed_at": "1769932800"},
    ]
    at = datetime(2026, 2, 1, 8, tzinfo=UTC)
    expected = [
        OldFile("raw/b.json", False, None, None),
        OldFile("raw/c.json", True, None, at),
        OldFile("raw/ü'\".json", True, "0012", at),
    ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / "old.ndjson.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "old.json").write_text(json.dumps(records))
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "old.parquet")
    (tmp_path / "parts").mkdir()
    for number in range(3):
        pq.write_table(pa.Table.from_pylist(records).slice(number, 1), tmp_path / f"parts/{number}.parquet")
    items = [{name: {"S": text} for name, text in record.items() if text is not None} for record in records]
    items[2]["processed_at"] = {"N": "1769932800"}
    sources = [
        write_csv(tmp_path / "old.csv", records),
        str(tmp_path / "old.ndjson.gz"),
        str(tmp_path / "old.json"),
        str(tmp_path / "old.parquet"),
        str(tmp_path / "parts"),
        export(tmp_path / "export", items),
    ]
    for source in sources:
        assert read(lake, source) == expected, source
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE public.old_status (s3_key text, status text, etag text, processed_at text)")
        for record in records:
            connection.execute("INSERT INTO public.old_status VALUES (%s, %s, %s, %s)", list(record.values()))
    monkeypatch.setenv("LAKE_IMPORT_DATABASE_URL", database_url)
    old = Old(None, "public.old_status", Wanted(), DONE, None)
    with loaded(load_settings(), lake.datasets["events"], old) as (table, columns):
        assert list(table.files()) == expected
        assert (columns.key, columns.time) == ("s3_key", "processed_at")


def test_an_export_may_lie_in_s3_and_a_copied_bucket_may_have_another_name(lake_on_s3: Lake, tmp_path: Path) -> None:
    lake = lake_on_s3
    keys = ("raw/2026/week07/a.json", "raw/2026/week07/b.json", "raw/2026/week08/d.json")
    items = [{"path": {"S": f"s3://old-bucket/{key}"}, "state": {"S": "OK"}} for key in keys]
    folder = Path(export(tmp_path, items))
    for path in sorted(folder.rglob("*.json*")):
        lake.store.put(f"exports/{path.relative_to(folder)}", path.read_bytes())
    found = take(lake, lake.store.uri("exports/AWSDynamoDB/"), done=["ok"], key_prefix="s3://old-bucket/")
    assert found.files["done"] == 3


def test_of_several_rows_of_a_key_the_newest_counts(lake: Lake, tmp_path: Path) -> None:
    key = "raw/2026/week07/a.json"
    records = [
        {"s3_key": key, "status": "done", "updated_at": "2026-02-01"},
        {"s3_key": key, "status": "failed", "updated_at": "2026-02-02"},
    ]
    assert [file.done for file in read(lake, write_csv(tmp_path / "old.csv", records))] == [False]


def test_what_cannot_be_read_is_refused_and_says_what_to_do(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text("name,what\na,b\n")
    with pytest.raises(ImportInvalid, match=r"--key-column; there are name, what"):
        read(lake, str(tmp_path / "odd.csv"))
    with pytest.raises(ImportInvalid, match="there is no column path"):
        read(lake, str(tmp_path / "odd.csv"), wanted=Wanted(key="path"))
    with pytest.raises(ImportInvalid, match="nor an export of DynamoDB"):
        read(lake, str(tmp_path / "nothing.csv"))
    with pytest.raises(SettingsError, match="LAKE_IMPORT_DATABASE_URL"):
        read(lake, None)
    folder = export(tmp_path / "export", [{"s3_key": {"S": "raw/a"}, "status": {"S": "done"}}] * 3)
    next((tmp_path / "export").rglob("f1.json.gz")).write_bytes(gzip.compress(b"{}"))
    with pytest.raises(ImportInvalid, match="its MD5 is another"):
        read(lake, folder)


def test_keys_of_the_old_table_may_begin_at_the_bucket_the_lake_or_a_url(lake: Lake) -> None:
    dataset = lake.datasets["events"]
    pairs = old_prefixes(dataset, "s3://bucket/prod", None)

    def here(key: str) -> str | None:
        return next((new + key.removeprefix(old) for old, new in pairs if key.startswith(old)), None)

    for root in ("", "/", "prod/", "s3://bucket/prod/", "s3a://bucket/prod/"):
        assert here(f"{root}raw/2026/a.json") == here(f"{root}archive/2026/a.json") == "raw/2026/a.json"
    assert here("s3://other/prod/raw/a.json") is here("curated/a.parquet") is None


def test_the_verdict_on_a_file() -> None:
    item = StoredObject("raw/a", 3, "e1", datetime(2026, 2, 1, tzinfo=UTC))
    done = OldFile("raw/a", True, None, None)

    def verdict(found: Found | None, old: OldFile | None, known: str | None = None, manifest: str | None = None) -> str:
        version = KnownVersion(1, "raw/a", "e1", 3, known, manifest, None, True) if known else None  # type: ignore[arg-type]
        return judge(found, old, version, lambda found, size, _: found.size == size)

    here, moved = Found(item), Found(item, "archive/a")
    assert verdict(here, done) == verdict(here, done, "PENDING") == verdict(here, done, "SUPERSEDED") == "done"
    assert verdict(here, done, "SUCCEEDED") == verdict(here, done, "PENDING", "m.0001") == "known"
    assert verdict(None, done) == verdict(moved, OldFile("raw/a", False, None, None)) == "missing"
    assert verdict(here, None) == "new"
    assert verdict(here, OldFile("raw/a", False, "e1", None)) == "waiting"
    assert verdict(here, OldFile("raw/a", True, "e2", None)) == "changed"
    assert verdict(moved, OldFile("raw/a", True, "e2", None)) == "done"
    assert verdict(here, OldFile("raw/a", True, None, item.last_modified - timedelta(seconds=1))) == "changed"
    assert verdict(moved, OldFile("raw/a", True, None, item.last_modified - timedelta(seconds=1))) == "done"


def test_the_usual_names_of_columns_are_found_in_any_case() -> None:
    found = choose_columns(["ID", "S3_KEY", "Status", "updated_at", "processed_at"], Wanted())
    assert (found.key, found.state, found.etag, found.time) == ("S3_KEY", "Status", None, "processed_at")


def test_the_command_says_what_became_of_the_files_and_repeats_without_harm(tmp_path: Path, database_url: str) -> None:
    lake = lake_command(tmp_path / "home", database_url, EVENTS)
    for name in ("a", "b"):
        lake.land(f"raw/2026/week07/{name}.json", event(1))
    rows_ = [{"s3_key": f"s3://elsewhere/raw/2026/week07/{name}.json", "status": "Done"} for name in "ab"]
    rows_ += [{"s3_key": "s3://elsewhere/other/c.json", "status": "Done"}]
    source = write_csv(tmp_path / "old.csv", rows_)

    told = lake("import", "events", source).stderr
    assert "3 rows are of keys of other prefixes; if they are of events, see --key-prefix" in told
    arguments = ("import", "events", source, "--key-prefix", "s3://elsewhere/")
    document = lake.json(*arguments, "--dry-run")
    assert (document["rows"], document["elsewhere"]) == ({"Done": {"count": 2, "done": True}}, 1)
    assert (document["files"]["done"], document["dry_run"]) == (2, True)
    lines = lake(*arguments).stdout.splitlines()
    assert lines[-1] == "1 manifests of files that are done. Next: lake run events"
    assert lake.json("status")["events"]["SUCCEEDED"] == 2
    assert lake(*arguments).stdout.splitlines()[-1].startswith("0 manifests")
    assert "LAKE_IMPORT_DATABASE_URL" in lake("import", "events", expect=1).stderr


@pytest.mark.slow
def test_a_million_rows_of_a_status_table_are_done_and_memory_is_bounded(tmp_path: Path, database_url: str) -> None:
    weeks, files = 100, 10_000
    lake = lake_command(tmp_path / "home", database_url, EVENTS)
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE public.file_processing_status (s3_key text, status text)")
        with connection.cursor().copy("COPY public.file_processing_status FROM STDIN") as copy:
            for week in range(weeks):
                folder = lake.home / f"store/raw/{2000 + week}/week01"
                folder.mkdir(parents=True)
                for number in range(files):
                    (folder / f"{number:05d}.json").touch()
                    key = f"raw/{2000 + week}/week01/{number:05d}.json"
                    copy.write_row((key, "FAILED" if number % 100 == 0 else "COMPLETED"))
    lake = LakeCommand(lake.home, {**lake.variables, "LAKE_IMPORT_DATABASE_URL": database_url})
    importing = lake.start("import", "events", "--json")
    assert importing.stdout is not None
    assert importing.stderr is not None
    with importing.stdout, importing.stderr:
        told, errors = importing.stdout.read(), importing.stderr.read()
    _, status, used = os.wait4(importing.pid, 0)
    importing.returncode = os.waitstatus_to_exitcode(status)
    assert importing.returncode == 0, errors
    expected = {"done": 990_000, "known": 0, "waiting": 10_000, "changed": 0, "new": 0, "missing": 0}
    document = json.loads(told)
    assert (document["files"], document["manifests"]) == (expected, weeks)
    states_ = lake.json("status")["events"]
    assert (states_["SUCCEEDED"], states_["PENDING"]) == (990_000, 10_000)
    # Kilobytes; what a million rows would take as Python objects is more.
    assert used.ru_maxrss < 700 * 1024
