"""What there is to see of a database without changing it, for `lake doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from lake_pipeline.ledger.retrying import failure

_ANSWERS_WITHIN = 10  # seconds
_SERVER = """
SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding,
    current_user::text AS role,
    current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on' AS durable,
    current_setting('max_connections')::int AS max_connections,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
    pg_database_size(current_database()) AS bytes, clock_timestamp() AS now
"""
# Null where there is no schema, or nothing was migrated.
_MAY_LOOK = """
SELECT has_schema_privilege(n.oid, 'USAGE') FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid
WHERE n.nspname = 'lake' AND c.relname = 'alembic_version'
"""
_DENIED = """
SELECT c.oid::regclass::text FROM pg_class c
WHERE (c.relnamespace = 'lake'::regnamespace OR c.oid IN (to_regclass('runs'), to_regclass('event_logs')))
    AND c.relkind IN ('r', 'p') AND NOT CASE WHEN c.oid = to_regclass('lake.alembic_version')
        THEN has_table_privilege(c.oid, 'SELECT')
        ELSE has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
            AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE') END
ORDER BY 1
"""
_REVISION = "SELECT version_num FROM lake.alembic_version"


@dataclass(frozen=True)
class Server:
    """What any role may see: the server's version, whether a commit outlives a power cut, its clock `now`."""

    version: int
    encoding: str
    role: str
    durable: bool
    max_connections: int
    connections: int
    bytes: int
    now: datetime


@dataclass(frozen=True)
class Health:
    """A database; `revision` is None where there is no schema `lake`, or the role may not look.

    `denied` are tables that the role may not read and write, or the schema `lake` as a whole.
    """

    server: Server
    revision: str | None
    denied: tuple[str, ...]


def examine(url: str) -> Health:
    """Ask the server, in a transaction that may write nothing.

    Raises:
        LedgerError: it cannot be reached.
    """
    try:
        with psycopg.connect(url, connect_timeout=_ANSWERS_WITHIN, application_name="lake doctor") as connection:
            connection.read_only = True
            with connection.cursor(row_factory=class_row(Server)) as cursor:
                (server,) = cursor.execute(_SERVER).fetchall()
            (may_look,) = connection.execute(_MAY_LOOK).fetchone() or (None,)
            if may_look is None:
                return Health(server, None, ())
            if not may_look:
                return Health(server, None, ("lake",))
            denied = tuple(name for (name,) in connection.execute(_DENIED))
            found = connection.execute(_REVISION).fetchone() if "lake.alembic_version" not in denied else None
            return Health(server, found[0] if found else None, denied)
    except psycopg.Error as error:
        raise failure(error, url) from error
