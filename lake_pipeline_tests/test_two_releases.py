"""Two releases at once: a migration only adds, so workers of the release before go on and commit; but for one."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from lake_pipeline.errors import LedgerError
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.migrate import migrate
from lake_pipeline.ledger.migrations import HEAD
from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.lakes import EVENTS, event
from lake_pipeline_tests.ledger_samples import DATASET, begin, claim, commit, land, state_of, states
from lake_pipeline_tests.test_postgres import migrate_to

# What a migration of the next release may do.
EXPAND = """
ALTER TABLE lake.live_files ADD COLUMN next_column text;
ALTER TABLE lake.manifests ADD COLUMN next_column int NOT NULL DEFAULT 0;
ALTER TABLE lake.outputs ADD COLUMN next_column text;
CREATE TABLE lake.next_table (dataset text PRIMARY KEY);
CREATE INDEX next_index ON lake.manifests (dataset, next_column);
UPDATE lake.alembic_version SET version_num = '9999';
"""


def expand(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(EXPAND)


def test_a_worker_that_began_before_the_next_releases_migration_goes_on_and_commits(
    ledger: Ledger, database_url: str
) -> None:
    land(ledger, "a", "b")
    manifest_id = claim(ledger, max_files=1).manifest_id
    attempt = begin(ledger, manifest_id)
    expand(database_url)

    assert commit(ledger, manifest_id, attempt, ["curated/a"]) == []
    land(ledger, "c")
    later = claim(ledger)
    assert commit(ledger, later.manifest_id, begin(ledger, later.manifest_id), ["curated/b"]) == []

    assert state_of(ledger, manifest_id) == "COMMITTED"
    assert set(states(ledger).values()) == {"SUCCEEDED"}
    assert len(ledger.committed_outputs(DATASET)) == 2


def test_a_process_of_the_release_before_that_starts_after_the_migration_says_what_to_do(
    tmp_path_factory: pytest.TempPathFactory, database_url: str
) -> None:
    lake: LakeCommand = lake_command(tmp_path_factory.mktemp("lake") / "home", database_url, EVENTS)
    lake.land("raw/2026/week07/a.json", event(1))
    expand(database_url)

    refused = lake("run", "events", expect=1).stderr.splitlines()[-1]

    assert f"is at 9999, and this release knows up to {HEAD}" in refused
    assert "install the release that migrated it" in refused


# What workers of the releases before 0014 say of files, shortened.
BEFORE_0014 = {
    "registering": "INSERT INTO lake.file_processing_status (dataset, s3_key, etag, size, last_modified, landing_group)"
    " VALUES ('events', 'late', 'v1', 1, now(), 'g') ON CONFLICT DO NOTHING",
    "claiming": "WITH candidate AS (SELECT id FROM lake.file_processing_status f WHERE status = 'PENDING' ORDER BY id"
    " LIMIT 10 FOR UPDATE OF f SKIP LOCKED) UPDATE lake.file_processing_status f SET status = 'PROCESSING'"
    " FROM candidate WHERE f.id = candidate.id",
    "committing": "UPDATE lake.file_processing_status SET status = 'SUCCEEDED' WHERE status = 'PROCESSING'",
    "archiving": "UPDATE lake.file_processing_status SET archived_key = 'archive/' || s3_key",
    "pruning": "DELETE FROM lake.file_processing_status WHERE status = 'SUCCEEDED'",
}


@pytest.fixture
def migrated_under_a_worker(empty_database_url: str) -> Iterator[tuple[str, psycopg.Connection]]:
    """A database of the release before 0014, migrated while a worker of that release had begun to convert a file."""
    migrate_to(empty_database_url, "0013")
    with psycopg.connect(empty_database_url, autocommit=True) as worker:
        worker.execute(
            "INSERT INTO lake.manifests (dataset, manifest_id, landing_group, slug, sequence, files, bytes, state,"
            " committed_at, attempt, worker, lease_expires_at)"
            " VALUES ('events', 'g.0001', 'g', 'g', 1, 1, 1, 'COMMITTED', now(), 1, 'old', NULL),"
            " ('events', 'g.0002', 'g', 'g', 2, 1, 1, 'RUNNING', NULL, 1, 'old', now() + interval '1 hour')"
        )
        worker.execute(
            "INSERT INTO lake.file_processing_status (dataset, s3_key, etag, size, last_modified, landing_group,"
            " status, manifest_id) VALUES ('events', 'done', 'v1', 1, now(), 'g', 'SUCCEEDED', 'g.0001'),"
            " ('events', 'begun', 'v1', 1, now(), 'g', 'PROCESSING', 'g.0002'),"
            " ('events', 'waits', 'v1', 1, now(), 'g', 'PENDING', NULL)"
        )
        worker.execute(
            "UPDATE lake.file_processing_status SET archived_key = 'archive/' || s3_key, rows_read = 0,"
            " rows_written = 0, rows_rescued = 0, rows_quarantined = 0, rows_dropped = 0, rows_exploded = 0,"
            " rows_erased = 0 WHERE status = 'SUCCEEDED'"
        )
        migrate(empty_database_url)
        yield empty_database_url, worker


@pytest.mark.parametrize("statement", BEFORE_0014.values(), ids=BEFORE_0014)
def test_a_worker_that_was_not_stopped_before_files_were_settled_is_refused_and_changes_nothing(
    migrated_under_a_worker: tuple[str, psycopg.Connection], statement: str
) -> None:
    url, worker = migrated_under_a_worker
    with Ledger.open(url) as ledger:
        before = list(ledger.files(DATASET))
        with pytest.raises((psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.FeatureNotSupported)):
            worker.execute(statement.encode())
        assert list(ledger.files(DATASET)) == before


def test_what_it_had_begun_is_done_by_this_release_once_its_lease_is_over(
    migrated_under_a_worker: tuple[str, psycopg.Connection],
) -> None:
    url, worker = migrated_under_a_worker
    with Ledger.open(url) as ledger:
        assert states(ledger) == {
            ("begun", "v1"): "PROCESSING",
            ("done", "v1"): "SUCCEEDED",
            ("waits", "v1"): "PENDING",
        }
        worker.execute("UPDATE lake.manifests SET lease_expires_at = now() WHERE state = 'RUNNING'")
        (due,) = ledger.due_manifests(DATASET, 10, max_retries=1)
        assert commit(ledger, due.manifest_id, begin(ledger, due.manifest_id), ["p"]) == []
        ledger.settle(DATASET, keep=False)
        assert states(ledger) == {("begun", "v1"): "SUCCEEDED", ("done", "v1"): "SUCCEEDED", ("waits", "v1"): "PENDING"}
        assert worker.execute("SELECT s3_key FROM lake.settled_files").fetchall() == [("done",)]
        assert ledger.invariant_violations(DATASET) == []


def test_a_schema_of_another_release_is_refused_before_anything_is_changed(database_url: str) -> None:
    expand(database_url)
    with pytest.raises(LedgerError, match="9999"):
        migrate(database_url)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT version_num FROM lake.alembic_version").fetchone() == ("9999",)
