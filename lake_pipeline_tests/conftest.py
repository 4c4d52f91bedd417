"""Fixtures that many tests share: an embedded Postgres, and a ledger of one's own on it."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lake_pipeline.ledger.embedded import attach
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.migrate import migrate

TEMPLATE = "lake_template"


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory whose path is short and open to other users, as a server's must be when root starts it."""
    path = Path(tempfile.mkdtemp(prefix="lake-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A Postgres server of this test process, which forgets what it is told when the machine stops."""
    home = Path(tempfile.mkdtemp(prefix="lake-"))
    server = attach(home)
    with psycopg.connect(server.url, autocommit=True) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
        connection.execute("SELECT pg_reload_conf()")
    yield server.url
    server.release()
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def template_database(postgres_url: str) -> str:
    """The name of a migrated database, to be cloned."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE}".encode())
    migrate(database_of(postgres_url, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database with nothing in it."""
    yield from fresh_database(postgres_url, "template1")


@pytest.fixture
def database_url(postgres_url: str, template_database: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    yield from fresh_database(postgres_url, template_database)


@pytest.fixture(scope="module")
def shared_database_url(postgres_url: str, template_database: str) -> Iterator[str]:
    """A migrated database that the tests of one module read together."""
    yield from fresh_database(postgres_url, template_database)


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    """An empty ledger of the test's own."""
    with Ledger.open(database_url) as opened:
        yield opened


def database_of(url: str, name: str) -> str:
    """The URL of another database on the same server."""
    return url.replace("/postgres?", f"/{name}?")


def fresh_database(postgres_url: str, template: str) -> Iterator[str]:
    """A database for as long as the iterator is open."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        yield database_of(postgres_url, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
