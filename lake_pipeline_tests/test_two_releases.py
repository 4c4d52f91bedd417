"""Two releases at once: a migration only adds, so workers of the release before go on and commit."""

from __future__ import annotations

import psycopg
import pytest

from lake_pipeline.errors import LedgerError
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.migrate import migrate
from lake_pipeline.ledger.migrations import HEAD
from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.lakes import EVENTS, event
from lake_pipeline_tests.ledger_samples import DATASET, begin, claim, commit, land, state_of, states

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


def test_a_schema_of_another_release_is_refused_before_anything_is_changed(database_url: str) -> None:
    expand(database_url)
    with pytest.raises(LedgerError, match="9999"):
        migrate(database_url)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT version_num FROM lake.alembic_version").fetchone() == ("9999",)
