"""What the role `lake_app` may do: everything that a run or a command needs, and no DDL. May be repeated.

A role is the whole server's, and the migrations of its databases may run side by side. An owner who may not create
roles leaves it to somebody who may; `lake migrate` grants the rest then.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from lake_pipeline.errors import LedgerError
from lake_pipeline.ledger.migrate import LOCK
from lake_pipeline.ledger.postgres import shown_url

APP_ROLE = "lake_app"

GRANTS = f"""
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APP_ROLE}') THEN
        BEGIN
            CREATE ROLE {APP_ROLE} NOLOGIN;
            COMMENT ON ROLE {APP_ROLE} IS 'May work with the ledger of a lake, and not change its tables.';
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'the role {APP_ROLE} is missing, and % may not create it', current_user;
                RETURN;
        END;
    END IF;
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO {APP_ROLE}', current_database());
    GRANT USAGE ON SCHEMA lake TO {APP_ROLE};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA lake TO {APP_ROLE};
    GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA lake TO {APP_ROLE};
    -- Which revision the tables are at is the owner's word.
    REVOKE INSERT, UPDATE, DELETE ON lake.alembic_version FROM {APP_ROLE};
    -- VACUUM FULL, which gives the disk back what a backfill leaves empty.
    IF current_setting('server_version_num')::int >= 170000 AND to_regclass('lake.live_files') IS NOT NULL THEN
        EXECUTE 'GRANT MAINTAIN ON lake.live_files TO {APP_ROLE}';
    END IF;
    ALTER DEFAULT PRIVILEGES IN SCHEMA lake GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {APP_ROLE};
    ALTER DEFAULT PRIVILEGES IN SCHEMA lake GRANT USAGE, SELECT ON SEQUENCES TO {APP_ROLE};
END $$
"""


_TABLES = """
DO $$
DECLARE
    found regclass;
BEGIN
    FOR found IN
        SELECT c.oid::regclass FROM pg_class c
        WHERE c.relkind IN ('r', 'p', 'S') AND pg_table_is_visible(c.oid) AND pg_has_role(c.relowner, 'USAGE') AND (
            c.relname = ANY (string_to_array({names}, ','))
            OR c.oid IN (
                SELECT d.objid FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid AND pg_table_is_visible(t.oid)
                WHERE d.deptype IN ('a', 'i') AND t.relname = ANY (string_to_array({names}, ','))
            )
        )
    LOOP
        IF (SELECT relkind FROM pg_class WHERE oid = found) = 'S' THEN
            EXECUTE format('GRANT USAGE, SELECT ON SEQUENCE %s TO {role}', found);
        ELSE
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO {role}', found);
        END IF;
    END LOOP;
END $$
"""


def grant(url: str, others: list[str]) -> bool:
    """Grant the role what it needs of the ledger, and of `others`, tables on the search path; whether it is there.

    Raises:
        LedgerError: the server refused.
    """
    try:
        with psycopg.connect(url, connect_timeout=10, application_name="lake") as connection:
            # What two grant at once on one table, the server refuses to one of them.
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            connection.execute(GRANTS.encode())
            there = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [APP_ROLE]).fetchone() is not None
            if there:
                names = sql.Literal(",".join(others))
                connection.execute(sql.SQL(_TABLES).format(names=names, role=sql.Identifier(APP_ROLE)))
            return there
    except psycopg.Error as error:
        raise LedgerError(f"{shown_url(url)}: {error}") from error
