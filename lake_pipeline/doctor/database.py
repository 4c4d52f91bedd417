"""The database: its server, the ledger's tables, what the role may do, and whether it is this store's ledger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from lake_pipeline.doctor.clock import judge_clock, now
from lake_pipeline.doctor.examined import Examined
from lake_pipeline.doctor.findings import Finding, bad, doubtful, good
from lake_pipeline.documents import mark_key, read_document
from lake_pipeline.guard import stored_lake
from lake_pipeline.ledger.health import Health, examine
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.migrations import HEAD
from lake_pipeline.ledger.postgres import database_url, shown_url
from lake_pipeline.reports import size_text

_OLDEST = 14
_PATIENCE = timedelta(seconds=5)
# Each process of the lake keeps up to four connections, and Dagster opens one for each query.
_SPARE_CONNECTIONS = 20
_WAYS_OUT = "point LAKE_DATABASE_URL and LAKE_STORE at what belongs together, restore a backup, or lake rebuild"


def look(at: Examined) -> Iterator[Finding]:
    settings = at.settings
    if settings.database_url is None and not (settings.home_dir / "postgres").exists():
        yield doubtful(
            "server", f"there is no embedded Postgres under {settings.home_dir} yet", "lake demo, or lake run"
        )
        return
    url = database_url(settings)
    before = now()
    health = examine(url)
    after = now()
    yield judge_server(health, shown_url(url) if settings.database_url else f"embedded, {settings.home_dir}/postgres")
    yield judge_durability(health)
    yield judge_connections(health)
    yield judge_clock("clock", health.server.now, before, after)
    yield (migrated := judge_revision(health))
    yield (granted := judge_grants(health))
    if migrated.state == granted.state == "ok":
        yield _identity(at, url)


def judge_server(health: Health, where: str) -> Finding:
    major = health.server.version // 10_000
    detail = f"PostgreSQL {major}, {size_text(health.server.bytes)}, as {health.server.role}, {where}"
    if major < _OLDEST:
        return bad("server", detail, f"upgrade the server to PostgreSQL {_OLDEST} or later")
    if health.server.encoding != "UTF8":
        return bad(
            "server",
            f"its encoding is {health.server.encoding}",
            "CREATE DATABASE lake ENCODING 'UTF8' TEMPLATE template0",
        )
    return good("server", detail)


def judge_durability(health: Health) -> Finding:
    if health.server.durable:
        return good("durability", "fsync and full_page_writes are on")
    mend = "ALTER SYSTEM SET fsync = on; ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf()"
    return bad("durability", "a commit may be lost with the machine's power", mend)


def judge_connections(health: Health) -> Finding:
    detail = f"{health.server.connections} of {health.server.max_connections} are used"
    if health.server.max_connections - health.server.connections >= _SPARE_CONNECTIONS:
        return good("connections", detail)
    return doubtful("connections", detail, "raise max_connections (on RDS: a larger class, or its parameter group)")


def judge_revision(health: Health) -> Finding:
    if health.revision == HEAD:
        return good("migrations", f"revision {HEAD}")
    if health.revision is None and health.denied:
        return bad(
            "migrations",
            f"{health.server.role} may not look",
            "lake migrate as the owner, then GRANT lake_app TO the role",
        )
    if health.revision is not None and health.revision > HEAD:
        return bad(
            "migrations", f"revision {health.revision}, and this release knows {HEAD}", "install the newer release"
        )
    mend = "lake migrate (LAKE_MIGRATION_DATABASE_URL: the owner's URL)"
    return bad("migrations", f"revision {health.revision or 'none'}, and this release needs {HEAD}", mend)


def judge_grants(health: Health) -> Finding:
    if not health.denied:
        return good("grants", f"{health.server.role} may read and write every table")
    mend = f"lake migrate as the owner, then GRANT lake_app TO {health.server.role}"
    return bad("grants", f"{health.server.role} may not read and write {', '.join(health.denied)}", mend)


def _identity(at: Examined, url: str) -> Finding:
    if not at.on_s3 and not Path(at.settings.store_url).exists():
        return good("identity", "there is no store yet")
    store = at.store
    with Ledger.open(url, patience=_PATIENCE) as ledger:
        there, known = stored_lake(store), ledger.known_lake()
        if there is None or known is None:
            if there is not None:
                return bad("identity", f"the store is lake {there}, and the ledger is of none", _WAYS_OUT)
            return good("identity", "of no lake yet: the first run makes store and ledger a pair")
        if there != known.lake:
            return bad("identity", f"the store is lake {there}, and the ledger of {known.lake}", _WAYS_OUT)
        for dataset in at.datasets:
            mark = read_document(store, mark_key(dataset.name))
            if mark is not None and ledger.changes(dataset.name) < mark["changes"]:
                return bad("identity", f"the ledger is older than the table of {dataset.name}", _WAYS_OUT)
        return good("identity", f"store and ledger are of lake {there}")
