"""Files that are done with: what a user sees of them is as before, and whatever changes them has them live first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake_pipeline.ledger.connection import named_queries
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import FileOutcome, FileRow, OutputFile
from lake_pipeline_tests import waiting
from lake_pipeline_tests.ledger_samples import DATASET, begin, claim, convert, land, listed, states
from lake_pipeline_tests.ledgers import make_live


def archive(ledger: Ledger) -> None:
    ledger.record_archived(DATASET, [(file.id, f"archive/{file.key}") for file in ledger.files_to_archive(DATASET)])
    ledger.settle(DATASET, keep=False)


def settled(database_url: str) -> list[str]:
    """The keys that are settled."""
    with psycopg.connect(database_url) as connection:
        return [
            key for (key,) in connection.execute("SELECT s3_key FROM lake.settled_files ORDER BY s3_key").fetchall()
        ]


def whole(database_url: str) -> list[tuple[Any, ...]]:
    """Every column of every file."""
    with psycopg.connect(database_url) as connection:
        return connection.execute("SELECT * FROM lake.file_processing_status ORDER BY dataset, s3_key, id").fetchall()


def rows(ledger: Ledger) -> dict[str, FileRow]:
    return {row.s3_key: row for row in ledger.files(DATASET) if row.status != "SUPERSEDED"}


counts = st.integers(0, 2**40)
etags = st.one_of(
    st.binary(max_size=20).map(bytes.hex),
    st.sampled_from(["", "0", "AB", "ab\n", "é", "d41d8cd98f00b204e9800998ecf8427e-12", "\\x00", "g0"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
)
files: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.builds(
        dict,
        etag=etags,
        size=st.integers(0, 2**33),
        outcome=st.builds(
            FileOutcome,
            id=st.just(0),
            status=st.just("SUCCEEDED"),
            rows_read=counts,
            rows_written=counts,
            rows_rescued=counts,
            rows_quarantined=counts,
            rows_dropped=counts,
            rows_exploded=counts,
            rows_erased=counts,
        ),
        run=st.sampled_from([None, "jr_1", "another"]),
        retries=st.integers(0, 3),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=files, manifest_run=st.sampled_from([None, "jr_1"]))
def test_a_settled_file_is_shown_as_it_was_whatever_is_known_of_it_and_may_go_back(
    ledger: Ledger, database_url: str, found: list[dict[str, Any]], manifest_run: str | None
) -> None:
    with psycopg.connect(database_url) as connection:
        for table in ("live_files", "settled_files", "outputs", "manifests"):
            connection.execute(f"DELETE FROM lake.{table}".encode())
    objects = [listed(f"k{number}", file["etag"], size=file["size"]) for number, file in enumerate(found)]
    ledger.register(DATASET, objects)
    manifest = claim(ledger).manifest_id
    attempt = begin(ledger, manifest)
    of_key = {f"k{number}": file for number, file in enumerate(found)}
    outcomes = [
        FileOutcome(**{**vars(of_key[file.key]["outcome"]), "id": file.id})
        for file in ledger.manifest_files(DATASET, manifest)
    ]
    ledger.commit_manifest(DATASET, manifest, attempt, files=outcomes, outputs=[])
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE lake.manifests SET engine_run_id = %s", [manifest_run])
        for key, file in of_key.items():
            connection.execute(
                "UPDATE lake.live_files SET archived_key = 'archive/' || s3_key, retry_count = %s, glue_job_run_id = %s"
                " WHERE s3_key = %s",
                [file["retries"], file["run"], key],
            )
    before = whole(database_url)

    ledger.settle(DATASET, manifest, keep=False)

    without_a_run = {key for key, file in of_key.items() if file["run"] is None and manifest_run}
    assert set(settled(database_url)) == of_key.keys() - without_a_run
    assert whole(database_url) == before
    assert {name for name, _ in violations(ledger)} <= {"rows_differ"}
    assert ledger.unknown_versions(DATASET, [(item.key, item.etag) for item in objects]) == set()
    make_live(ledger, DATASET)
    assert settled(database_url) == []
    assert whole(database_url) == before


def violations(ledger: Ledger) -> list[tuple[str, str]]:
    return [(found.invariant, found.subject) for found in ledger.invariant_violations(DATASET)]


@pytest.fixture
def done(ledger: Ledger) -> str:
    """A committed manifest of the files a and b, which are archived."""
    land(ledger, "a", "b")
    manifest = claim(ledger).manifest_id
    files = len(ledger.manifest_files(DATASET, manifest))
    attempt = begin(ledger, manifest)
    outcomes = [FileOutcome(file.id, "SUCCEEDED", 3, 3) for file in ledger.manifest_files(DATASET, manifest)]
    ledger.commit_manifest(DATASET, manifest, attempt, files=outcomes, outputs=[OutputFile("p", 3 * files, 100)])
    archive(ledger)
    return manifest


@pytest.mark.usefixtures("done")
def test_archived_files_are_settled_and_the_manifest_counts_them(ledger: Ledger, database_url: str) -> None:
    assert settled(database_url) == ["a", "b"]
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT settled, settled_files, settled_bytes FROM lake.manifests").fetchall()
    assert found == [(True, 2, 20)]
    assert states(ledger) == {("a", "v1"): "SUCCEEDED", ("b", "v1"): "SUCCEEDED"}
    assert ledger.status()[DATASET]["SUCCEEDED"] == 2
    assert [(total.status, total.files, total.bytes) for total in ledger.file_totals()] == [("SUCCEEDED", 2, 20)]
    assert [row.archived_key for row in ledger.files(DATASET, key="a")] == ["archive/a"]
    assert violations(ledger) == []


def test_a_new_version_of_a_settled_file_takes_its_place(ledger: Ledger, database_url: str, done: str) -> None:
    assert land(ledger, listed("a", "v2", minute=1)).new == 1
    assert ledger.manifest(DATASET, done).state == "PLANNED"
    assert violations(ledger) == []
    begin(ledger, done)
    assert settled(database_url) == []
    convert(ledger, done, ["q"])
    archive(ledger)
    assert states(ledger) == {("a", "v1"): "SUPERSEDED", ("a", "v2"): "SUCCEEDED", ("b", "v1"): "SUCCEEDED"}
    assert settled(database_url) == ["a", "b"]


@pytest.mark.usefixtures("done")
def test_an_older_version_that_is_told_of_late_is_not_registered(ledger: Ledger) -> None:
    late = listed("a", "v0", minute=-1)
    assert ledger.register(DATASET, [late], etag_now=lambda _: None).new == 0
    assert states(ledger)["a", "v1"] == "SUCCEEDED"
    assert len(states(ledger)) == 2


@pytest.mark.usefixtures("done")
def test_a_settled_file_that_lands_again_is_moved_again(ledger: Ledger, database_url: str) -> None:
    assert ledger.archived_versions(DATASET, [("a", "v1"), ("a", "v2")]) == {"a"}
    assert land(ledger, listed("a", minute=5)).new == 0
    assert [file.key for file in ledger.relanded_files(DATASET)] == ["a"]
    assert settled(database_url) == ["b"]
    assert violations(ledger) == []
    (again,) = ledger.relanded_files(DATASET)
    ledger.record_archived(DATASET, [(again.id, again.location)])
    assert settled(database_url) == ["a", "b"]
    assert ledger.relanded_files(DATASET) == []


def test_what_is_requeued_or_held_is_live_and_is_settled_when_it_is_let_go(
    ledger: Ledger, database_url: str, done: str
) -> None:
    before = rows(ledger)
    attempt = ledger.hold_manifest(DATASET, done, "eraser", timedelta(minutes=1))
    assert settled(database_url) == []
    ledger.settle(DATASET, done, keep=False)
    assert settled(database_url) == []
    ledger.let_go_manifest(DATASET, done, attempt)
    ledger.settle(DATASET, keep=False)
    assert settled(database_url) == ["a", "b"]
    assert rows(ledger) == before

    ledger.requeue(DATASET, key="a")
    assert settled(database_url) == []
    assert set(states(ledger).values()) == {"PENDING"}
    assert violations(ledger) == []


def test_what_may_still_change_is_not_settled(ledger: Ledger, database_url: str) -> None:
    land(ledger, "a", "bad", "gone", "stays")
    bad = FileOutcome(0, "QUARANTINED", error_message="not JSON")
    convert(ledger, claim(ledger).manifest_id, ["p1"], bad=bad, gone=FileOutcome(0, "FAILED"))
    moved = [file for file in ledger.files_to_archive(DATASET) if file.key != "stays"]
    folder = {"SUCCEEDED": "archive/", "QUARANTINED": "quarantine/"}
    ledger.record_archived(DATASET, [(file.id, folder[file.status] + file.key) for file in moved])
    ledger.settle(DATASET, keep=False)
    assert settled(database_url) == ["a"]
    assert [file.key for file in ledger.files_to_archive(DATASET)] == ["stays"]


def test_files_that_stay_where_they_land_are_settled_there_and_move_once_that_is_declared(
    ledger: Ledger, database_url: str
) -> None:
    land(ledger, "a", "b")
    convert(ledger, claim(ledger).manifest_id, ["p1", "p2"])
    ledger.settle(DATASET, keep=True)
    assert settled(database_url) == ["a", "b"]
    assert land(ledger, "a", "b").new == 0
    assert settled(database_url) == ["a", "b"]

    assert [file.key for file in ledger.files_to_archive(DATASET)] == ["a", "b"]
    archive(ledger)
    assert [row.archived_key for row in ledger.files(DATASET)] == ["archive/a", "archive/b"]
    assert violations(ledger) == []


def test_manifests_of_a_release_before_are_settled_some_at_a_time(ledger: Ledger, database_url: str) -> None:
    for number in range(12):
        land(ledger, f"f{number:02}")
        convert(ledger, claim(ledger).manifest_id, [f"p{number}"])
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE lake.live_files SET archived_key = 'archive/' || s3_key")
    ledger.settle(DATASET, keep=False)
    assert len(settled(database_url)) == 10
    ledger.settle(DATASET, keep=False)
    assert len(settled(database_url)) == 12


@pytest.mark.usefixtures("done")
def test_counts_by_state_are_those_of_the_rows(ledger: Ledger, database_url: str) -> None:
    land(ledger, "bad", "gone", "waits", "runs", listed("other", group="elsewhere"))
    bad = FileOutcome(0, "QUARANTINED", error_message="not JSON")
    claimed = claim(ledger, max_files=3).manifest_id
    convert(ledger, claimed, ["p1"], bad=bad, gone=FileOutcome(0, "FAILED"))
    claim(ledger)
    land(ledger, listed("gone", "v2", minute=1))
    with psycopg.connect(database_url) as connection:
        counted = connection.execute(
            "SELECT status, count(*), sum(size)::bigint FROM lake.file_processing_status GROUP BY status"
        ).fetchall()
    assert {(total.status, total.files, total.bytes) for total in ledger.file_totals()} == set(counted)
    assert len(counted) == 5


def test_what_live_files_left_empty_goes_back_to_the_disk(ledger: Ledger, database_url: str) -> None:
    land(ledger, *(f"k{number:05}" for number in range(3000)))
    convert(ledger, claim(ledger, max_files=3000).manifest_id, ["p"])
    archive(ledger)
    assert ledger.shrink(least=1) == 0, "nobody has counted what is left"
    land(ledger, "waits")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM (TRUNCATE false) lake.live_files")
        with connection.transaction():
            connection.execute("SELECT FROM lake.live_files")
            assert ledger.shrink(least=1) == 0, "somebody reads"
    before = states(ledger)
    assert ledger.shrink() == 0, "it is not worth it"

    assert ledger.shrink(least=1) > 500_000

    assert states(ledger) == before
    assert ledger.shrink(least=1) == 0
    assert land(ledger, "another").new == 1


SOME = {"dataset": DATASET, "keys": ["k5", "k70005"], "key": "k70005", "status": None}
LOOKUPS: dict[str, dict[str, Any]] = {
    "statuses_of": SOME,
    "files": SOME,
    "file_metadata": SOME,
    "unknown_versions": SOME | {"etags": ["v1", "v1"]},
    "archived_versions": SOME | {"etags": ["v1", "v1"]},
    "known_versions": SOME,
    "attach_new_versions": SOME,
    "supersede_old_versions": SOME,
    "replacements": SOME | {"manifest_ids": ["m.0001"]},
    "not_archived": SOME,
    "manifest_files": SOME | {"manifest_id": "m.0007"},
    "recorded_files": SOME | {"manifest_id": "m.0007"},
    "rows_by_file": SOME | {"manifest_id": "m.0007"},
    "is_pruned": SOME | {"manifest_id": "m.0007"},
    "prune_superseded": SOME | {"keep": timedelta(0), "most": 10},
    "begin_files": SOME | {"manifest_id": "m.0007"},
    "manifests_to_settle": SOME | {"most": 10},
    "settled_where_they_landed": SOME | {"manifest_id": None},
    "settle_files": SOME | {"manifest_id": "m.0007", "keep": False, "ids": [], "keys": []},
    "unsettle_files": SOME | {"manifest_ids": ["m.0007"], "keys": None},
}


@pytest.fixture(scope="module")
def grown(shared_database_url: str) -> str:
    """A ledger of 50,000 settled files and 20,000 live ones, of which the server knows how many there are."""
    with psycopg.connect(shared_database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO lake.manifests (dataset, manifest_id, landing_group, slug, sequence, files, bytes, state)"
            " SELECT 'events', 'm.' || to_char(n, 'FM0000'), 'g', 'm', n, 1000, 1000, 'COMMITTED'"
            " FROM generate_series(1, 50) n"
        )
        connection.execute(
            "INSERT INTO lake.settled_files (id, size, last_modified, discovered_at, rows_read, rows_written, dataset,"
            " manifest_id, s3_key, etag_text, archived_key)"
            " SELECT n, 1, now(), now(), 1, 1, 'events', 'm.' || to_char(n % 50 + 1, 'FM0000'), 'k' || n, 'v1',"
            " 'a/k' || n FROM generate_series(1, 50000) n"
        )
        connection.execute(
            "INSERT INTO lake.live_files (dataset, s3_key, etag, size, last_modified, landing_group)"
            " SELECT 'events', 'k' || n, 'v1', 1, now(), 'g' FROM generate_series(60001, 80000) n"
        )
        connection.execute("VACUUM ANALYZE lake.live_files, lake.settled_files, lake.manifests")
    return shared_database_url


@pytest.mark.parametrize("name", LOOKUPS)
def test_what_is_asked_of_some_files_reads_the_indexes_of_both_tables(grown: str, name: str) -> None:
    with psycopg.connect(grown) as connection:
        found = connection.execute("EXPLAIN " + getattr(named_queries(), name).sql, LOOKUPS[name]).fetchall()
    plan = "\n".join(line for (line,) in found)
    assert "Seq Scan on live_files" not in plan, plan
    assert "Seq Scan on settled_files" not in plan, plan


def test_no_page_of_many_keys_gets_a_plan_for_any_keys(grown: str) -> None:
    keys = [f"k{number}" for number in range(1, 4_001)]

    def scans() -> int:
        with psycopg.connect(grown) as connection:
            found = connection.execute(
                "SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables WHERE relname = 'live_files'"
            ).fetchone()
        assert found is not None
        return int(found[0])

    def is_alone() -> bool:
        with psycopg.connect(grown) as connection:
            return (
                connection.execute(
                    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                ).fetchone()
                is None
            )

    waiting.until(is_alone)
    before = scans()
    with Ledger.open(grown, max_size=1) as ledger:
        for _ in range(12):  # from its sixth time on a prepared statement may have a plan for whatever keys there are
            assert len(ledger.versions_of(DATASET, keys)) == len(keys)
    waiting.until(is_alone)  # a server process tells what it read when it ends
    assert scans() == before


MOVED = SOME | {"ids": [70005, 70006], "manifest_id": None, "keep": False}


@pytest.fixture(scope="module")
def misjudged(grown: str) -> str:
    """The same, of which the server thinks that no file was ever claimed: 20,000 were, since it looked."""
    with psycopg.connect(grown, autocommit=True) as connection:
        connection.execute("ALTER TABLE lake.live_files SET (autovacuum_enabled = false)")
        connection.execute("UPDATE lake.live_files SET status = 'SUCCEEDED', manifest_id = 'm.' || id % 50")
    return grown


@pytest.mark.parametrize("name", ["lock_manifests_of", "settle_files", "record_archived"])
def test_files_that_were_moved_are_looked_up_by_their_ids_whatever_the_statistics(misjudged: str, name: str) -> None:
    with psycopg.connect(misjudged) as connection:
        connection.execute(named_queries().join_by_hash.sql)
        found = connection.execute("EXPLAIN " + getattr(named_queries(), name).sql, MOVED).fetchall()
    plan = "\n".join(line for (line,) in found)
    assert "file_processing_status_pkey" in plan, plan
    assert "files_by_manifest" not in plan, plan
    assert "Seq Scan on live_files" not in plan, plan
