"""The least that a role needs: lake_app does all of the work and none of the DDL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lake_pipeline.errors import LedgerError
from lake_pipeline.ledger.grants import APP_ROLE
from lake_pipeline.ledger.migrate import current_revision, migrate
from lake_pipeline.ledger.migrations import HEAD
from lake_pipeline_tests.command_line import lake_command
from lake_pipeline_tests.lakes import event
from lake_pipeline_tests.test_postgres import MIGRATE, migrate_to, start

DECLARED: dict[str, Any] = {
    "name": "events",
    "source": {"prefix": "raw/", "format": "ndjson", "group": "{year}/{week}/"},
    "output": {"prefix": "curated/"},
    "archive": {"action": "move", "prefix": "archive/"},
    "extracts": [{"name": "ids", "sql": "SELECT id FROM events"}],
}


@dataclass(frozen=True)
class Role:
    """A role that may log in, and the database's URL for it."""

    name: str
    url: str


@pytest.fixture
def roles(postgres_url: str, empty_database_url: str) -> Iterator[tuple[Role, Role]]:
    """The owner of an empty database who may create roles no more than any other, and a role of nothing yet."""
    names = [f"{kind}_{uuid.uuid4().hex[:8]}" for kind in ("owner", "app")]
    database = psycopg.conninfo.conninfo_to_dict(empty_database_url)["dbname"]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for name in names:
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'p'".encode())
        connection.execute(f"ALTER DATABASE {database} OWNER TO {names[0]}".encode())
        # As on any server that is not this laptop's alone.
        connection.execute(f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC".encode())
        yield tuple(Role(name, as_role(empty_database_url, name)) for name in names)  # type: ignore[misc]
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(f"REASSIGN OWNED BY {names[0]} TO CURRENT_USER".encode())
        for name in names:
            connection.execute(f"DROP OWNED BY {name}".encode())
            connection.execute(f"DROP ROLE {name}".encode())


def as_role(url: str, name: str) -> str:
    return url.replace("postgresql://postgres@", f"postgresql://{name}:p@")


@pytest.fixture
def app_role(postgres_url: str) -> None:
    """The role that somebody who may has created."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            f"DO $$ BEGIN CREATE ROLE {APP_ROLE} NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$".encode()
        )


def grant_app(postgres_url: str, role: Role) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"GRANT {APP_ROLE} TO {role.name}".encode())


@pytest.mark.usefixtures("app_role")
def test_the_app_role_runs_everything_and_changes_no_table(
    roles: tuple[Role, Role], postgres_url: str, tmp_path: Path
) -> None:
    owner, app = roles
    grant_app(postgres_url, app)
    lake = lake_command(tmp_path, app.url, DECLARED)
    refused = lake("status", expect=1)
    assert "permission denied" in refused.stderr or "may not make" in refused.stderr
    assert "lake migrate" in refused.stderr
    as_owner = replace(lake, variables={**lake.variables, "LAKE_MIGRATION_DATABASE_URL": owner.url})
    assert as_owner.json("migrate") == {"before": None, "revision": HEAD, "app_role": True}
    assert as_owner.json("migrate") == {"before": HEAD, "revision": HEAD, "app_role": True}
    lake.land("raw/2026/07/a.json", *(event(number) for number in range(10)), "no JSON")
    lake("run")
    assert lake.json("status")["events"]["SUCCEEDED"] == 1
    for command in (
        ("files", "events"),
        ("quarantine", "list", "events"),
        ("requeue", "events", "--key", "raw/2026/07/a.json"),
        ("query", "select count(*) from events_ids"),
    ):
        lake(*command)
    with psycopg.connect(app.url, autocommit=True) as connection:
        for ddl in (
            "CREATE TABLE lake.mine (a int)",
            "CREATE SCHEMA mine",
            "CREATE TABLE public.mine (a int)",
            "ALTER TABLE lake.outputs ADD COLUMN mine int",
            "DROP TABLE lake.outputs",
            "TRUNCATE lake.outputs",
            "CREATE INDEX ON lake.outputs (rows)",
            "DROP TABLE public.runs",
            "CREATE ROLE mine",
            "UPDATE lake.alembic_version SET version_num = '0001'",
            "GRANT SELECT ON lake.outputs TO PUBLIC WITH GRANT OPTION",
        ):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidGrantOperation)):
                connection.execute(ddl.encode())


def test_an_older_schema_says_who_is_to_upgrade_it(roles: tuple[Role, Role], postgres_url: str) -> None:
    owner, app = roles
    migrate_to(owner.url, "0009")
    with psycopg.connect(owner.url) as connection:
        connection.execute(f"GRANT USAGE ON SCHEMA lake TO {app.name}".encode())
        connection.execute(f"GRANT SELECT ON lake.alembic_version TO {app.name}".encode())
        connection.execute(f"GRANT CONNECT ON DATABASE {connection.info.dbname} TO {app.name}".encode())
    with pytest.raises(LedgerError, match=r"its schema is at revision 0009.*lake migrate.*LAKE_MIGRATION_DATABASE_URL"):
        migrate(app.url)
    migrate(app.url, owner.url)
    assert current_revision(postgres_url.replace("/postgres?", f"/{owner.url.split('/')[3].split('?')[0]}?")) == HEAD


def test_databases_of_one_server_are_migrated_side_by_side(postgres_url: str) -> None:
    names = [f"side_{uuid.uuid4().hex[:8]}" for _ in range(3)]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for name in names:
            connection.execute(f"CREATE DATABASE {name}".encode())
        urls = [postgres_url.replace("/postgres?", f"/{name}?") for name in names]
        try:
            processes = [start(MIGRATE, url) for url in urls]
            for process in processes:
                process.communicate(timeout=60)
            assert [process.returncode for process in processes] == [0, 0, 0]
            assert {current_revision(url) for url in urls} == {HEAD}
        finally:
            for name in names:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
