"""Secrets of the environment stay there: not in a log, a run's tag, a table, an object, a file or an error."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from lake_pipeline.errors import SettingsError
from lake_pipeline.ledger.postgres import database_url as url_of
from lake_pipeline.ledger.postgres import shown_url
from lake_pipeline.settings import Settings, load_settings
from lake_pipeline.store import Store
from lake_pipeline_tests.command_line import LakeCommand, lake_command

PASSWORD = "pl4nted p@ss:w/rd"
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "pl4ntedSecretAccessKey0123456789abcdef",
    "AWS_SESSION_TOKEN": "pl4ntedSessionToken0123456789abcdef",
}
PLANTED = [PASSWORD, quote(PASSWORD, safe=""), "pl4nted"]
DECLARED: dict[str, Any] = {
    "name": "events",
    "source": {"prefix": "raw/", "format": "ndjson"},
    "output": {"prefix": "curated/"},
    "archive": {"action": "move", "prefix": "archive/"},
}
# Fails each time that it is run.
REFUSED = {
    "name": "refused",
    "source": {"prefix": "refused/", "format": "ndjson"},
    "output": {"prefix": "refused-out/"},
    "checks": {"row_count": {"min": 100}, "blocking": ["row_count"]},
    "batch": {"max_retries": 1},
}


@pytest.fixture
def role(postgres_url: str) -> Iterator[str]:
    """A role with the password."""
    name = f"secret_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        created = sql.SQL("CREATE ROLE {} LOGIN SUPERUSER PASSWORD {}").format(
            sql.Identifier(name), sql.Literal(PASSWORD)
        )
        connection.execute(created)
        yield name
        connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(name)))


def with_password(url: str, role: str) -> str:
    return url.replace("postgresql://postgres@", f"postgresql://{role}:{quote(PASSWORD, safe='')}@")


def found_in(text: str) -> list[str]:
    return [secret for secret in [*PLANTED, *SECRETS.values()] if secret in text]


def everything_in_the_database(url: str) -> str:
    """Every row of every table, the ledger's and Dagster's, as text."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('lake', 'public')"
        ).fetchall()
        assert {"runs", "event_logs", "manifests", "run_tags"} <= {name for _, name in tables}
        texts = []
        for schema, table in tables:
            query = sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(schema, table))
            texts += [row[0] for row in connection.execute(query)]
    return "\n".join(texts)


def everything_under(folder: Path) -> str:
    files = (path for path in folder.rglob("*") if path.is_file())
    return "\n".join(path.read_bytes().decode("latin-1") for path in files)


def said_by(lake: LakeCommand, *arguments: str, expect: int = 0) -> str:
    done = lake(*arguments, expect=expect)
    return done.stdout + done.stderr


@pytest.mark.usefixtures("aws_environment")
def test_no_secret_is_written_anywhere_by_runs_that_end_well_or_badly(
    tmp_path: Path, database_url: str, s3_url: str, role: str
) -> None:
    lake = lake_command(tmp_path / "home", with_password(database_url, role), DECLARED, REFUSED)
    lake = replace(lake, variables={**lake.variables, **SECRETS, "LAKE_STORE": s3_url, "LAKE_CATALOG": "duckdb"})
    store = Store(s3_url)
    store.put("raw/a.json", b'{"id":1}\nno JSON\n')
    store.put("refused/b.json", b'{"id":2}')
    said = said_by(lake, "run", "--verbose", expect=1)
    assert "row_count" in said
    # A store that is not there, a server that is not there, a role that may not log in, a URL that is none.
    said += said_by(
        replace(lake, variables={**lake.variables, "LAKE_STORE": "s3://none-such"}), "run", "events", expect=1
    )
    gone = {**lake.variables, "LAKE_DATABASE_URL": f"postgresql://u:{quote(PASSWORD, safe='')}@127.0.0.1:1/lake"}
    said += said_by(replace(lake, variables=gone), "status", expect=1)
    odd = {**lake.variables, "LAKE_DATABASE_URL": f"postgresql://u:{PASSWORD}%zz@127.0.0.1:1/lake"}
    said += said_by(replace(lake, variables=odd), "status", expect=1)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(role)))
    refused = said_by(lake, "status", expect=1)
    assert "not permitted to log in" in refused
    assert "***" in refused
    assert found_in(said + refused) == []
    assert found_in(everything_in_the_database(database_url)) == []
    assert found_in(everything_under(tmp_path / "home")) == []
    for page in store.list(""):
        for item in page:
            assert found_in(item.key + store.get(item.key).decode("latin-1")) == [], item.key


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{quote(PASSWORD, safe='')}@h/d",
        f"postgresql://u:{PASSWORD}@h/d",
        f"postgresql://h/d?user=u&password={quote(PASSWORD, safe='')}&sslmode=require",
        f"postgresql://:{quote(PASSWORD, safe='')}@h/d",
        "postgres://u:pl4nted@h/d?sslpassword=pl4nted",
    ],
)
def test_a_url_is_shown_without_any_of_its_passwords(url: str) -> None:
    assert found_in(shown_url(url)) == []
    assert shown_url("postgresql://u@h/d") == "postgresql://u@h/d"


@pytest.mark.parametrize("url", [f"postgresql://u:{PASSWORD}%zz@h/d", f"mysql://u:{PASSWORD}@h/d", PASSWORD])
def test_a_url_that_cannot_be_read_is_not_quoted(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        url_of(Settings(database_url=url))
    assert found_in(str(refused.value)) == []
    assert refused.value.__suppress_context__


def test_credentials_in_a_stores_url_are_refused_and_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKE_STORE", "s3://AKIAPLANTED:pl4nted@bucket/prefix")
    with pytest.raises(SettingsError, match="credentials are no part of it") as refused:
        load_settings()
    assert found_in(str(refused.value)) == []
    assert "pl4nted" in os.environ["LAKE_STORE"]
