"""The role that workers log in with: of `lake_app`, and no owner of anything."""

from __future__ import annotations

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from lake_pipeline.errors import LedgerError, SettingsError
from lake_pipeline.ledger.grants import APP_ROLE
from lake_pipeline.ledger.migrate import LOCK
from lake_pipeline.ledger.postgres import shown_url


def make_worker(owner_url: str, worker_url: str) -> str:
    """Give the role of `worker_url` its password and membership of lake_app, made where it is missing; its name.

    Raises:
        SettingsError: that URL has no user or no password, or is the owner's.
        LedgerError: the server refused.
    """
    wanted = conninfo_to_dict(worker_url)
    name, password = str(wanted.get("user") or ""), str(wanted.get("password") or "")
    if not name or not password:
        raise SettingsError("--worker makes the role of LAKE_DATABASE_URL, which must have its name and password")
    try:
        with psycopg.connect(owner_url, connect_timeout=10, application_name="lake") as connection:
            if name == connection.info.user:
                raise SettingsError(
                    f"--worker makes the role of LAKE_DATABASE_URL, and that is the owner, {name}; give workers another"
                )
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            # What the server would keep of it, so that no log of statements has the password.
            kept = connection.pgconn.encrypt_password(password.encode(), name.encode())
            there = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone() is not None
            role = sql.Identifier(name)
            connection.execute(
                sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}" if there else "CREATE ROLE {} LOGIN PASSWORD {}").format(
                    role, sql.Literal(kept.decode())
                )
            )
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(APP_ROLE), role))
    except psycopg.Error as error:
        raise LedgerError(f"{shown_url(owner_url)}: {error}") from error
    return name
