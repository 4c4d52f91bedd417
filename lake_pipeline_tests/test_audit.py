"""`lake audit`: each difference between store, ledger and outputs is found by its name, and mended where it can be."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake_pipeline.audit.audit import audit
from lake_pipeline.audit.classes import CLASSES, FINISHED, REPLANNED
from lake_pipeline.audit.listings import StoreListing, reported
from lake_pipeline.audit.merging import merged
from lake_pipeline.audit.repair import Mended, Repair
from lake_pipeline.audit.scope import Scope
from lake_pipeline.audit.spool import spooled
from lake_pipeline.aws_local.resources import make_bucket
from lake_pipeline.discovery.bucket import LakeBucket
from lake_pipeline.discovery.listing import discover
from lake_pipeline.discovery.report import find_report
from lake_pipeline.lake import Lake
from lake_pipeline.store import StoredObject
from lake_pipeline_tests.command_line import LakeCommand
from lake_pipeline_tests.conftest import fresh_database
from lake_pipeline_tests.damages import DAMAGES, FLAT, TRIPS, WEEK1, Found, convert, fill, found, sql
from lake_pipeline_tests.killing import start_run
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, states, stored
from lake_pipeline_tests.ledgers import make_live
from lake_pipeline_tests.test_inventory import LANDED, Inventory, Row
from lake_pipeline_tests.waiting import until

STATES = {"SUCCEEDED", "QUARANTINED", "SUPERSEDED", "PENDING"}


@dataclass(frozen=True)
class Original:
    """A lake that is as it should be: its home, and the name of its database, to be cloned."""

    home: Path
    postgres_url: str
    database: str

    @contextmanager
    def copy(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Lake]:
        """The same lake once more; its objects are hard links, so that they keep their ETags."""
        shutil.copytree(self.home, home, copy_function=_link)
        for database_url in fresh_database(self.postgres_url, self.database):
            with lake_of(monkeypatch, home, database_url, FLAT, TRIPS) as lake:
                yield lake


def _link(source: str, target: str) -> None:
    if source.endswith((".yaml", ".duckdb", ".lock")):
        shutil.copyfile(source, target)
    else:
        Path(target).hardlink_to(source)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template_database: str) -> Iterator[Original]:
    home = tmp_path_factory.mktemp("original")
    for database_url in fresh_database(postgres_url, template_database):
        with pytest.MonkeyPatch.context() as monkeypatch, lake_of(monkeypatch, home, database_url, FLAT, TRIPS) as lake:
            fill(lake)
        yield Original(home, postgres_url, str(psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]))


@pytest.fixture
def lake(original: Original, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lake]:
    with original.copy(monkeypatch, tmp_path / "copy") as copied:
        yield copied


def repaired(lake: Lake, scratch: Path, *, dry_run: bool = False) -> list[Mended]:
    """What a repair of every dataset says."""
    return [
        mended
        for dataset in lake.datasets.values()
        for mended in Repair(lake, dataset, dry_run)(
            spooled(audit(Scope(lake, dataset, StoreListing(lake.store), settle_seconds=0.01)), scratch)
        )
    ]


def damage_all(lake: Lake, *, but: tuple[str, ...] = ()) -> Found:
    return {item for name, damage in DAMAGES.items() if name not in but for item in damage(lake)}


def ledger_dump(lake: Lake) -> list[tuple[object, ...]]:
    with psycopg.connect(lake.settings.database_url or "") as connection:
        return [
            row
            for table in ("file_processing_status", "manifests", "outputs")
            for row in connection.execute(f"SELECT * FROM lake.{table} ORDER BY 1, 2".encode()).fetchall()
        ]


def test_a_lake_as_it_should_be_has_no_difference(lake: Lake) -> None:
    assert {file.status for file in lake.ledger.files("events")} == {
        "SUCCEEDED",
        "QUARANTINED",
        "SUPERSEDED",
        "PENDING",
    }
    assert found(lake) == set()
    assert found(lake, quick=True) == set()


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_found_by_its_name_and_nothing_else_is(lake: Lake, name: str) -> None:
    expected = DAMAGES[name](lake)
    assert found(lake) == expected
    assert {kind for kind, _ in expected} <= CLASSES.keys()


def test_a_quick_audit_opens_no_curated_file_but_for_footers(lake: Lake) -> None:
    expected = damage_all(lake)
    assert expected - found(lake, quick=True) == {
        *(item for item in expected if item[0] in ("file_rows", "records_changed")),
        ("output_rows", "trips/2026/x.json"),
    }


def _first(row: tuple[str, int]) -> str:
    return row[0]


@settings(deadline=None)
@given(
    names=st.sets(st.text(st.characters(exclude_categories=["Cs"]))),
    sides=st.lists(st.sampled_from(["object", "row", "both"]), min_size=20, max_size=20),
)
def test_two_streams_in_the_order_of_bytes_meet_at_each_key(names: set[str], sides: list[str]) -> None:
    ordered = {name: sides[number % 20] for number, name in enumerate(sorted(names, key=str.encode))}
    objects = [StoredObject(name, 1, "e", LANDED) for name, side in ordered.items() if side != "row"]
    # A key may have several rows, of which the first counts.
    known = [(name, number) for name, side in ordered.items() if side != "object" for number in (1, 2)]

    met = merged(objects, known, _first)

    assert [(key, item is not None, row) for key, item, row in met] == [
        (name, side != "row", None if side == "object" else (name, 1)) for name, side in ordered.items()
    ]


def test_a_partitioned_table_is_looked_through_whatever_its_folders_are_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    modes = ["bike", "a b", "x=y", "[a]*?", "50%", "ä/ö", "{a,b}", "it's"]
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS) as lake:
        land(lake, "raw/2026/week01/[a]*.json", *(event(number, mode=mode) for number, mode in enumerate(modes)))
        convert(lake)
        assert len(lake.ledger.committed_outputs("events")) == len(modes)
        assert found(lake) == set()
        make_live(lake.ledger, "events")
        sql(lake, "UPDATE lake.live_files SET rows_written = 7")
        assert found(lake) == {("file_rows", "raw/2026/week01/[a]*.json"), ("rows_differ", "2026-week01.0001")}


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(st.sampled_from(sorted(DAMAGES)), min_size=2, max_size=8))
def test_any_damages_together_are_found_and_nothing_else_is(
    original: Original, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, names: set[str]
) -> None:
    with original.copy(monkeypatch, tmp_path_factory.mktemp("example") / "copy") as lake:
        expected = {item for name in sorted(names) for item in DAMAGES[name](lake)}
        assert found(lake) == expected


def test_a_repair_and_a_run_leave_only_what_is_reported(lake: Lake, tmp_path: Path) -> None:
    check_repair(lake, tmp_path)


def check_repair(lake: Lake, scratch: Path) -> None:
    expected = damage_all(lake)
    assert found(lake) == expected
    reported = {(kind, subject) for kind, subject in expected if CLASSES[kind].repair is None}

    done = repaired(lake, scratch)

    assert {(mended.difference.kind, mended.difference.subject) for mended in done} == expected
    assert {(mended.difference.kind, mended.difference.subject) for mended in done if not mended.done} == reported
    # No table is made of files that are gone; the run after this makes it.
    assert {item for item in found(lake) if item[0] not in REPLANNED} == reported | {("catalogue_stale", "events")}
    again, before = found(lake), (states(lake), stored(lake, ""))
    repaired(lake, scratch)
    assert (found(lake), (states(lake), stored(lake, ""))) == (again, before), "a repair may be repeated"
    assert {item for item in stored(lake, "") if "notes.txt" in item or "/someone/" in item} == {
        *("archive/notes.txt", "quarantine/events/files/notes.txt", "quarantine/events/records/notes.txt"),
        *("_staging/events/notes.txt", "curated/someone/else.parquet"),
    }

    convert(lake)

    assert found(lake) == reported
    weeks = "_source_file between 'raw/2026/week02' and 'raw/2026/week10'"
    assert rows(lake, f"select count(*), count(distinct id) from events where {weeks}") == [(32, 32)]
    assert states(lake)["raw/2026/week01/gone.json"] == "SUPERSEDED"
    assert states(lake)["raw/2026/week20/held.json"] == "SUCCEEDED"


@pytest.mark.slow
@pytest.mark.parametrize("store_kind", ["s3"], indirect=True)
def test_on_s3_damages_are_found_and_mended_as_in_a_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, store_url: str
) -> None:
    with lake_of(monkeypatch, tmp_path, database_url, FLAT, TRIPS, store=store_url) as lake:
        fill(lake)
        assert found(lake) == set()
        check_repair(lake, tmp_path)


def test_a_dry_run_says_the_same_and_changes_nothing(lake: Lake, tmp_path: Path) -> None:
    damage_all(lake)
    before = (ledger_dump(lake), stored(lake, ""))

    said = repaired(lake, tmp_path, dry_run=True)

    assert (ledger_dump(lake), stored(lake, "")) == before
    assert said == repaired(lake, tmp_path)


def test_rows_are_not_planned_again_where_a_raw_file_cannot_be_read(lake: Lake, tmp_path: Path) -> None:
    damage = DAMAGES["output_missing"](lake)
    lake.store.delete(["archive/2026/week02/b.json"])

    refused = [mended for mended in repaired(lake, tmp_path) if not mended.done]

    assert {mended.difference.kind: mended.how for mended in refused} == {
        "archive_missing": "only reported",
        "output_missing": "not mended: its raw file raw/2026/week02/b.json is gone at archive/2026/week02/b.json",
    }
    assert found(lake) == damage | {("archive_missing", "raw/2026/week02/b.json")}
    assert lake.ledger.manifest("events", "2026-week02.0001").state == "COMMITTED"


def test_beside_a_run_at_work_nothing_false_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    with lake_of(monkeypatch, tmp_path, database_url, FLAT) as lake:
        for week in (1, 2):
            lines = (event(number) for number in range(5_000))
            land(lake, f"raw/2026/week{week:02d}/a.json", *lines, "ERROR 503")
        convert(lake)
        # One is converted again, one with another version of its file, and one for the first time.
        lake.ledger.requeue("events", manifest="2026-week01.0001")
        for week in (2, 3):
            land(lake, f"raw/2026/week{week:02d}/a.json", *(event(number) for number in range(6_000)), "ERROR 503")
        discover(lake.dataset("events"), lake.store, lake.ledger)
        worker, audits = start_run("events"), 0
        try:
            while worker.poll() is None:
                assert found(lake) == set()
                audits += 1
        finally:
            worker.wait(timeout=120)
        assert worker.returncode == 0
        assert audits > 3
        assert found(lake) == set()


KILLED = [
    *("discovery.registering", "planning.claiming", "planning.claimed", "attempt.begun", "attempt.converted"),
    *("publish.intended", "publish.copied", "publish.published", "commit.committing", "commit.committed"),
    *("clean.refreshed", "clean.deleted", "clean.cleaned", "archive.moved", "archive.archived"),
]
# What a killed run may leave, all of it mended.
LEFT = FINISHED | {"unregistered", "not_archived", "archive_unrecorded"}


@pytest.mark.slow
@pytest.mark.parametrize("point", KILLED)
def test_what_a_killed_run_leaves_is_found_for_what_it_is_and_mended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, point: str
) -> None:
    with lake_of(monkeypatch, tmp_path, database_url, FLAT) as lake:
        land(lake, "raw/2026/week01/a.json", event(1), "ERROR 503")
        land(lake, "raw/2026/week01/b.json", event(2))
        convert(lake)
        lake.ledger.requeue("events", manifest=WEEK1)
        land(lake, "raw/2026/week02/c.json", event(3), "ERROR 503")
        monkeypatch.setenv("LAKE_FAILPOINTS", f"{point}=kill")
        assert start_run("events").wait(timeout=120) == -signal.SIGKILL
        monkeypatch.delenv("LAKE_FAILPOINTS")

        left = found(lake)
        assert {kind for kind, _ in left} <= LEFT
        assert {(mended.difference.kind, mended.difference.subject) for mended in repaired(lake, tmp_path)} == left
        assert found(lake) == set()

        convert(lake)

        assert found(lake) == set()
        assert rows(lake, "select id from events order by id") == [("e1",), ("e2",), ("e3",)]


def test_what_another_machines_worker_has_just_committed_is_given_time(lake: Lake) -> None:
    for name in ("not_archived", "archive_unrecorded", "staging_left", "records_left"):
        DAMAGES[name](lake)
    expected = DAMAGES["output_left"](lake)
    sql(lake, "UPDATE lake.manifests SET worker = 'elsewhere/1/1.00' WHERE manifest_id = %s", WEEK1)
    assert found(lake) == set()

    sql(
        lake,
        "UPDATE lake.manifests SET started_at = now() - interval '1 hour', committed_at = now() - interval '1 hour'"
        " WHERE manifest_id = %s",
        WEEK1,
    )
    assert found(lake) >= expected
    assert len(found(lake)) == 6 + 1  # and the table shows another commit


def test_a_manifest_whose_files_were_forgotten_has_no_strays_and_no_wrong_rows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    short = FLAT | {"retention": {"file_records": "1s"}}
    with lake_of(monkeypatch, tmp_path, database_url, short) as lake:
        land(lake, "raw/2026/week01/a.json", event(1))
        convert(lake)
        until(lambda: lake.ledger.prune_files("events", timedelta(seconds=1)) > 0)
        assert list(lake.ledger.files("events")) == []
        assert found(lake) == set()

        path = lake.ledger.committed_outputs("events")[0].path
        lake.store.delete([path])

        assert found(lake) == {("output_missing", path)}
        (mended,) = repaired(lake, tmp_path)
        assert mended.how == "not mended: the ledger has no files of 2026-week01.0001 any more"


def test_a_report_of_an_inventory_stands_in_for_listings_and_what_it_says_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, s3_url: str
) -> None:
    with lake_of(monkeypatch, tmp_path, database_url, FLAT, store=s3_url) as lake:
        for week in (1, 2):
            for name in "ab":
                land(lake, f"raw/2026/week{week:02d}/{name}.json", event(week), *["ERROR 503"] * (name == "b"))
        convert(lake)
        land(lake, "raw/new.json", event(9))
        objects = [item for page in lake.store.list("") for item in page]
        reported_rows = [Row(item.key, item.etag, item.size, landed=item.last_modified) for item in objects]
        # In no order, with an object that is gone since, and without one that is there.
        files = [[Row("raw/gone.json"), Row("curated/gone.parquet")], reported_rows[:0:-1]]
        bucket = LakeBucket.of(s3_url, "an inventory")
        reports = make_bucket(f"reports-{bucket.name}").split("/")[2]
        url = Inventory(s3_url, reports).write("Parquet", *files)

        assert found(lake) == {("unregistered", "raw/new.json")}
        lake.store.delete([path := lake.ledger.committed_outputs("events")[0].path])
        with reported(find_report(url), s3_url) as listing:
            raw = [item for item in objects if item.key.startswith("raw/")]
            assert list(listing.objects("raw/")) == [StoredObject("raw/gone.json", 3, "e", LANDED), *raw]
            # A report tells of the lost file, which is asked for when it is opened.
            assert found(lake, listing=listing) == {("unregistered", "raw/new.json"), ("output_missing", path)}
        assert stored(lake, "raw/") == ["raw/new.json"]


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_memory_does_not_grow_with_the_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, known: bool
) -> None:
    with lake_of(monkeypatch, tmp_path, database_url, FLAT) as lake:
        few = _peak_of_an_audit(lake, range(40_000), known)
        many = _peak_of_an_audit(lake, range(40_000, 200_000), known)
    # Where five times as many were held, it would be five times as much; how many answers wait at once differs.
    assert many < few * 1.5


def _peak_of_an_audit(lake: Lake, numbers: range, known: bool) -> int:
    """The most memory that Python held while all files were audited, these having landed; in bytes."""
    assert lake.store.root is not None
    for number in numbers:
        path = lake.store.root / f"raw/{number // 1000:03d}/{number}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    if known:
        discover(lake.dataset("events"), lake.store, lake.ledger)
    tracemalloc.start()
    scope = Scope(lake, lake.dataset("events"), StoreListing(lake.store), settle_seconds=0)
    assert sum(1 for _ in audit(scope)) == (0 if known else numbers.stop)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_the_command_names_each_difference_and_repairs_what_it_can(lake: Lake) -> None:
    variables = {name: value for name, value in os.environ.items() if name.startswith("LAKE_")}
    command = LakeCommand(lake.settings.home, variables)
    DAMAGES["unregistered"](lake)
    DAMAGES["output_stray"](lake)
    table = command("audit", expect=1)
    assert [line.split()[:3] for line in table.stdout.splitlines()] == [
        ["dataset", "class", "found"],
        ["events", "unregistered", "1"],
        ["events", "output_stray", "1"],
    ]
    assert "raw files looked at" in table.stderr

    lines = [
        json.loads(line) for line in command("audit", "events", "--repair", "--json", expect=1).stdout.splitlines()
    ]

    assert [(line["class"], line["state"], line["repair"]) for line in lines] == [
        ("unregistered", "mended", "it is registered"),
        ("output_stray", "refused", "only reported"),
        ("output_stray", "left", None),
    ]
    assert lines[1] == {
        "dataset": "events",
        "class": "output_stray",
        "subject": "curated/someone/else.parquet",
        "detail": "9 bytes",
        "manifest_id": None,
        "state": "refused",
        "repair": "only reported",
    }


def test_the_page_tells_of_every_class_and_what_is_done_about_it() -> None:
    page = (Path(__file__).parents[1] / "docs/audit.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE))
    assert told == {name: f"{each.meaning} | {each.repair or 'only reported'}" for name, each in CLASSES.items()}
