"""Bring the schema `lake` up to date."""

from __future__ import annotations

from pathlib import Path

import psycopg

from lake_pipeline.errors import LedgerError
from lake_pipeline.ledger.migrations import HEAD
from lake_pipeline.ledger.postgres import shown_url, sqlalchemy_url
from lake_pipeline.ledger.retrying import failure

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 0x1A4E  # any number, as long as every starter takes the same


def migrate(url: str, owner: str | None = None) -> None:
    """Create or upgrade the schema `lake`; at once where it is current, and safe to call from many processes.

    `owner` is the URL of a role that may, where that of `url` may not.

    Raises:
        LedgerError: the server cannot be reached, its schema is of a newer release than this one, or it is of an older
            one and the role may not change it.
    """
    if (found := current_revision(url)) != HEAD:
        _upgrade(owner or url, found)


def current_revision(url: str) -> str | None:
    """The revision that the database is at; None where the schema is missing."""
    try:
        with psycopg.connect(url, connect_timeout=10, application_name="lake") as connection:
            if (encoding := connection.info.parameter_status("server_encoding")) != "UTF8":
                raise LedgerError(f"{shown_url(url)}: its encoding is {encoding}; file names need a UTF8 database")
            found = connection.execute("SELECT to_regclass('lake.alembic_version')").fetchone()
            if found is None or found[0] is None:
                return None
            row = connection.execute("SELECT version_num FROM lake.alembic_version").fetchone()
            return row[0] if row else None
    except psycopg.errors.InsufficientPrivilege as error:
        raise LedgerError(
            f"{shown_url(url)}: {error}; its owner allows it: `lake migrate`, then GRANT lake_app TO the role"
        ) from error
    except psycopg.Error as error:
        raise failure(error, url) from error


def _upgrade(url: str, found: str | None) -> None:
    from alembic import command  # slow to import, and seldom needed
    from alembic.config import Config
    from alembic.util.exc import CommandError
    from sqlalchemy import NullPool, create_engine, text
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    engine = create_engine(sqlalchemy_url(url, "psycopg"), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            # The second starter waits here, then finds nothing left to do.
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS lake"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise LedgerError(
            f"the schema of {shown_url(url)} is at {current_revision(url)}, and this release knows up to {HEAD}:"
            " install the release that migrated it, or a later one"
        ) from error
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise LedgerError(
                f"{shown_url(url)}: its schema is at revision {found or 'none'} and this release needs {HEAD}, which"
                " this role may not make; run `lake migrate` with LAKE_MIGRATION_DATABASE_URL set to its owner's URL"
            ) from error
        raise LedgerError(f"{shown_url(url)}: {error}") from error
    except SQLAlchemyError as error:
        raise LedgerError(f"{shown_url(url)}: {error}") from error
