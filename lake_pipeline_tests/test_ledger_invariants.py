"""What the ledger says of itself when something in it contradicts something else, and that its own steps never do."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from lake_pipeline.ledger.audit_models import InvariantViolation
from lake_pipeline.ledger.invariants import INVARIANTS
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import FileOutcome, OutputFile
from lake_pipeline_tests.ledger_samples import DATASET, begin, claim, commit, land, listed, outcomes

NO_LEASE = timedelta(0)


@pytest.fixture
def committed(ledger: Ledger) -> str:
    """A committed manifest of the files a and b, 6 rows of them in one output, beside a file that waits."""
    land(ledger, "a", "b")
    manifest = claim(ledger).manifest_id
    whole(ledger, manifest, "p")
    land(ledger, "waiting")
    assert violations(ledger) == []
    return manifest


def violations(ledger: Ledger) -> list[tuple[str, str]]:
    return [(found.invariant, found.subject) for found in ledger.invariant_violations(DATASET)]


def whole(ledger: Ledger, manifest: str, path: str, **but: FileOutcome) -> None:
    """Begin and commit, with all rows in one output."""
    attempt = begin(ledger, manifest)
    files = outcomes(ledger, manifest, **but)
    rows = sum(file.rows_written for file in files)
    ledger.commit_manifest(DATASET, manifest, attempt, files=files, outputs=[OutputFile(path, rows, 100)])


BREACHES = [
    ("UPDATE lake.live_files SET status = 'PROCESSING' WHERE s3_key = 'waiting'",
     {("processing_without_attempt", "waiting")}),
    ("UPDATE lake.live_files SET status = 'PROCESSING', manifest_id = 'gone.0001' WHERE s3_key = 'waiting'",
     {("processing_without_attempt", "waiting")}),
    ("UPDATE lake.live_files SET status = 'PROCESSING' WHERE s3_key = 'a'",
     {("processing_without_attempt", "a"), ("rows_differ", "2026-week07.0001")}),
    ("UPDATE lake.live_files SET status = 'PENDING' WHERE s3_key = 'a'",
     {("stranded_file", "a"), ("rows_differ", "2026-week07.0001")}),
    ("UPDATE lake.live_files SET manifest_id = 'gone.0001' WHERE s3_key = 'waiting'",
     {("stranded_file", "waiting")}),
    ("UPDATE lake.manifests SET state = 'RUNNING', worker = NULL, lease_expires_at = now()",
     {("attempt_without_holder", "2026-week07.0001")}),
    ("UPDATE lake.manifests SET state = 'RUNNING'", {("attempt_without_holder", "2026-week07.0001")}),
    ("UPDATE lake.manifests SET lease_expires_at = now()", {("lease_without_attempt", "2026-week07.0001")}),
    ("UPDATE lake.live_files SET s3_key = 'a', etag = 'v2' WHERE s3_key = 'b'",
     {("two_versions_succeeded", "a")}),
    ("UPDATE lake.live_files SET manifest_id = NULL WHERE s3_key = 'a'",
     {("succeeded_without_commit", "a"), ("rows_differ", "2026-week07.0001")}),
    ("UPDATE lake.manifests SET state = 'PLANNED', committed_at = NULL",
     {("succeeded_without_commit", "a"), ("succeeded_without_commit", "b"),
      ("output_without_commit", "2026-week07.0001")}),
    ("INSERT INTO lake.settled_files (id, size, last_modified, discovered_at, rows_read, rows_written, dataset,"
     " manifest_id, s3_key, etag_text) SELECT id, size, last_modified, now(), 3, 3, dataset, manifest_id, s3_key, etag"
     " FROM lake.live_files WHERE s3_key = 'a'",
     {("version_twice", "a"), ("two_versions_succeeded", "a"), ("settled_miscounted", "2026-week07.0001"),
      ("rows_differ", "2026-week07.0001")}),
    ("UPDATE lake.manifests SET settled_files = 1", {("settled_miscounted", "2026-week07.0001")}),
    ("UPDATE lake.outputs SET rows = 5", {("rows_differ", "2026-week07.0001")}),
    ("UPDATE lake.outputs SET committed = false", {("rows_differ", "2026-week07.0001")}),
]  # fmt: skip


@pytest.mark.parametrize(("change", "found"), BREACHES, ids=[change[12:] for change, _ in BREACHES])
def test_each_contradiction_is_named_with_what_it_is_of(
    ledger: Ledger, committed: str, database_url: str, change: str, found: set[tuple[str, str]]
) -> None:
    assert committed == "2026-week07.0001"
    with psycopg.connect(database_url) as connection:
        connection.execute(change.encode())
    assert set(violations(ledger)) == found


def test_every_invariant_is_among_the_contradictions_shown() -> None:
    assert {name for _, found in BREACHES for name, _ in found} == set(INVARIANTS)


def test_a_contradiction_says_what_is_there(ledger: Ledger, committed: str, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE lake.outputs SET rows = 5")
        connection.execute("UPDATE lake.live_files SET status = 'PROCESSING' WHERE s3_key = 'waiting'")
    assert ledger.invariant_violations(DATASET) == [
        InvariantViolation("processing_without_attempt", "waiting", "version v1 is PROCESSING in no manifest"),
        InvariantViolation("rows_differ", committed, "its files have 6 rows, its outputs 5"),
    ]
    assert ledger.invariant_violations("another") == []


def test_a_replay_contradicts_nothing_at_any_step(ledger: Ledger, committed: str) -> None:
    ledger.requeue(DATASET, key="a")
    assert violations(ledger) == []
    attempt = begin(ledger, committed)
    assert violations(ledger) == []
    ledger.intend_outputs(DATASET, committed, attempt, [OutputFile("q", 6, 100)])
    assert violations(ledger) == []
    ledger.fail_attempt(DATASET, committed, attempt, "no")
    assert violations(ledger) == []
    whole(ledger, committed, "q")
    assert violations(ledger) == []


def test_a_new_version_contradicts_nothing_at_any_step(ledger: Ledger, committed: str) -> None:
    ledger.requeue(DATASET, manifest=committed)
    for minute, etag in enumerate(("v2", "v3", "v4"), 1):
        land(ledger, listed("a", etag, minute=minute))
        assert violations(ledger) == []
        if etag == "v2":
            begin(ledger, committed, "killed", NO_LEASE)  # v3 waits for this one's end
            assert violations(ledger) == []
        elif etag == "v3":
            ledger.reap(DATASET)
            assert violations(ledger) == []
    whole(ledger, committed, "q")
    assert violations(ledger) == []


def test_quarantined_and_failed_files_contradict_nothing(ledger: Ledger, committed: str) -> None:
    land(ledger, "bad", "gone")
    manifest = claim(ledger).manifest_id
    assert violations(ledger) == []
    commit(
        ledger,
        manifest,
        begin(ledger, manifest),
        waiting=FileOutcome(0, "FAILED"),
        bad=FileOutcome(0, "QUARANTINED"),
        gone=FileOutcome(0, "FAILED"),
    )
    assert violations(ledger) == []
    ledger.requeue(DATASET, key="bad")
    assert violations(ledger) == []
    ledger.requeue(DATASET, manifest=committed)
    assert violations(ledger) == []


def test_records_that_were_pruned_contradict_nothing(ledger: Ledger, committed: str) -> None:
    ledger.record_archived(DATASET, [(file.id, f"archive/{file.key}") for file in ledger.files_to_archive(DATASET)])
    assert ledger.prune_files(DATASET, timedelta(0)) == 2
    assert violations(ledger) == []
    assert ledger.manifest(DATASET, committed).state == "COMMITTED"
