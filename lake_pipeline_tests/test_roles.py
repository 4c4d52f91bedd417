"""The least that a role needs: lake_app does all of the work and none of the DDL."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lake_pipeline.errors import LedgerError, SettingsError
from lake_pipeline.ledger.grants import APP_ROLE
from lake_pipeline.ledger.migrate import current_revision, migrate
from lake_pipeline.ledger.migrations import HEAD
from lake_pipeline.ledger.worker_role import make_worker
from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.lakes import event, lake_of, land, states
from lake_pipeline_tests.test_postgres import MIGRATE, migrate_to, start
from lake_pipeline_tests.ui import eventually, lake_dev

DECLARED: dict[str, Any] = {
    "name": "events",
    "source": {"prefix": "raw/", "format": "ndjson", "group": "{year}/{week}/"},
    "output": {"prefix": "curated/"},
    "archive": {"action": "move", "prefix": "archive/"},
    "extracts": [{"name": "ids", "sql": "SELECT id FROM events"}],
}
QUICK = DECLARED | {"batch": {"max_wait": 0}}


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
    done = {"revision": HEAD, "app_role": True, "worker": None}
    assert as_owner.json("migrate") == done | {"before": None}
    assert as_owner.json("migrate") == done | {"before": HEAD}
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


@dataclass(frozen=True)
class Deployed:
    """A lake as a deployment has it: an owner who may create roles, and a worker whose role nobody has made yet."""

    lake: LakeCommand
    owner: LakeCommand
    worker: str


@pytest.fixture
def deployed(roles: tuple[Role, Role], postgres_url: str, app_role: None, tmp_path: Path) -> Iterator[Deployed]:  # noqa: ARG001
    owner, worker = roles[0], f"worker_{uuid.uuid4().hex[:8]}"
    lake = lake_command(tmp_path, with_password(owner.url, worker, "first"), DECLARED)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {owner.name} CREATEROLE".encode())
        # Where the owner made lake_app itself, it has this of the server.
        connection.execute(f"GRANT {APP_ROLE} TO {owner.name} WITH ADMIN OPTION".encode())
        as_owner = {**lake.variables, "LAKE_MIGRATION_DATABASE_URL": owner.url}
        yield Deployed(lake, replace(lake, variables=as_owner), worker)
        connection.execute(f"DROP ROLE IF EXISTS {worker}".encode())


def with_password(url: str, name: str, password: str) -> str:
    return re.sub(r"//\w+:\w+@", f"//{name}:{password}@", url)


def accepts(postgres_url: str, name: str, password: str) -> bool:
    """Whether the server would let the role in with that password (RFC 5802; this one trusts its socket)."""
    with psycopg.connect(postgres_url) as connection:
        (kept,) = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [name]).fetchone() or ("",)
    rounds, salt, stored, _ = re.split("[:$]", kept.removeprefix("SCRAM-SHA-256$"))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(rounds))
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client).digest() == base64.b64decode(stored)


def test_services_that_start_together_make_the_workers_role_and_work_as_it(
    deployed: Deployed, roles: tuple[Role, Role], postgres_url: str
) -> None:
    lake, owner = deployed.lake, deployed.owner
    services = [owner.start("migrate", "--worker", "--json") for _ in range(3)]
    answers = [service.communicate(timeout=90) for service in services]
    assert [service.returncode for service in services] == [0, 0, 0], answers
    assert {json.loads(answer)["worker"] for answer, _ in answers} == {deployed.worker}
    lake.land("raw/2026/07/a.json", event(1))
    lake("run")
    assert lake.json("status")["events"]["SUCCEEDED"] == 1

    assert accepts(postgres_url, deployed.worker, "first")
    again = {"LAKE_DATABASE_URL": with_password(roles[0].url, deployed.worker, "second")}
    replace(owner, variables={**owner.variables, **again})("migrate", "--worker")
    assert accepts(postgres_url, deployed.worker, "second")
    assert not accepts(postgres_url, deployed.worker, "first")


def test_a_worker_without_a_password_or_that_is_the_owner_is_refused(
    deployed: Deployed, roles: tuple[Role, Role]
) -> None:
    owner = roles[0]
    with pytest.raises(SettingsError, match="must have its name and password"):
        make_worker(owner.url, owner.url.replace(":p@", "@"))
    with pytest.raises(SettingsError, match=f"that is the owner, {owner.name}"):
        make_worker(owner.url, owner.url)
    refused = deployed.lake("migrate", "--worker", expect=1).stderr
    assert "LAKE_MIGRATION_DATABASE_URL, the owner's" in refused


@pytest.mark.slow
def test_the_ui_and_the_daemon_work_as_the_app_role(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deployed.owner("migrate", "--worker")
    worker_url = deployed.lake.variables["LAKE_DATABASE_URL"]
    with lake_of(monkeypatch, tmp_path, worker_url, QUICK) as lake, lake_dev(tmp_path / "dev.log"):
        land(lake, "raw/2026/07/a.json", event(1))
        eventually(lambda: states(lake).get("raw/2026/07/a.json") == "SUCCEEDED", 120, "the daemon's run")
    assert "permission denied" not in (tmp_path / "dev.log").read_text()


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
