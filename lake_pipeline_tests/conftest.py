"""Fixtures that many tests share: a Postgres with a ledger of one's own, and an AWS with a bucket of one's own."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from filelock import FileLock

from infra.synth import synthesize
from lake_pipeline.aws_local.resources import make_bucket, make_lake
from lake_pipeline.aws_local.server import environment, serve
from lake_pipeline.ledger.embedded import attach
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.migrate import migrate

TEMPLATE = "lake_template"
# An environment with every option of cdk.json.
FULL = {
    "region": "eu-central-1",
    "email": "full@example.com",
    "protected": True,
    "archive_tiers": True,
    "crawler": True,
    "certificate": "arn:aws:acm:eu-central-1:111122223333:certificate/11112222-3333-4444-5555-666677778888",
    "readers": ["arn:aws:iam::111122223333:role/analysts", "arn:aws:iam::111122223333:role/training"],
}


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


@pytest.fixture(scope="session")
def aws_url() -> Iterator[str]:
    """AWS's wire, of this test process."""
    with serve() as url:
        yield url


@pytest.fixture
def aws_environment(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process's environment, and its children's, leads to AWS on this machine."""
    for name, value in environment(aws_url).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def aws(aws_environment: None) -> dict[str, str]:  # noqa: ARG001
    """A lake's resources of the test's own, as `lake dev --aws-local` makes them; the variables that name them."""
    return make_lake(f"lake-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def s3_url(aws_environment: None) -> str:  # noqa: ARG001
    """Where a store of the test's own may be in S3; of all of AWS only this bucket is there."""
    return make_bucket(f"lake-{uuid.uuid4().hex[:12]}")


@pytest.fixture(params=["directory", "s3"])
def store_kind(request: pytest.FixtureRequest) -> str:
    """The test runs once for each kind of store."""
    return str(request.param)


@pytest.fixture
def store_url(store_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store of the test's own may be."""
    if store_kind == "s3":
        return str(request.getfixturevalue("s3_url"))
    return str(tmp_path / "not" / "there" / "yet")


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


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the synthesized templates of infra/, made once for all processes of a test run."""
    folder = tmp_path_factory.getbasetemp()
    shared = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "templates"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            made = shared.with_name("templates-being-made")
            synthesize(made, {"full": FULL})
            made.rename(shared)
    return shared
