"""`lake migrate`: the database's tables, made or upgraded by their owner."""

from __future__ import annotations

from typing import Annotated

import typer

from lake_pipeline.commands.options import Json
from lake_pipeline.errors import SettingsError
from lake_pipeline.ledger.grants import APP_ROLE, grant
from lake_pipeline.ledger.migrate import current_revision
from lake_pipeline.ledger.migrate import migrate as bring_up_to_date
from lake_pipeline.ledger.postgres import database_url, migration_url
from lake_pipeline.ledger.worker_role import make_worker
from lake_pipeline.loading import large_imports
from lake_pipeline.reports import note, print_json, say
from lake_pipeline.settings import load_settings


def migrate(
    worker: Annotated[
        bool,
        typer.Option(
            "--worker",
            help="Also make the role of LAKE_DATABASE_URL, or set its password to that one, and grant it lake_app.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Create or upgrade the tables of the ledger and of Dagster, and grant the role lake_app the use of them.

    Works as LAKE_MIGRATION_DATABASE_URL says, or else LAKE_DATABASE_URL. Any other command does the same for the ledger
    where its role may; a role that may not, and has lake_app, needs this once after each release. May be repeated, and
    by several at once. --worker needs an owner that may create roles.

    JSON: the revision before (null: there was no ledger) and now, whether the role lake_app is there, and the worker's
    role (null without --worker).
    """
    with large_imports():
        from lake_pipeline.defs.instance import dagster_tables, make_dagster_tables  # Dagster takes seconds to import

    settings = load_settings()
    if worker and (settings.database_url is None or settings.migration_database_url is None):
        raise SettingsError(
            "--worker needs LAKE_DATABASE_URL, the worker's, and LAKE_MIGRATION_DATABASE_URL, the owner's"
        )
    url = migration_url(settings)
    before = current_revision(url)
    bring_up_to_date(url)
    make_dagster_tables(settings, url)
    granted = grant(url, dagster_tables())
    made = make_worker(url, database_url(settings)) if worker else None
    after = current_revision(url)
    if json:
        print_json({"before": before, "revision": after, "app_role": granted, "worker": made})
        return
    say(f"the ledger is at revision {after}" + ("" if before == after else f", and was at {before or 'none'}"))
    if made is not None:
        say(f"{made} may log in, and has {APP_ROLE}")
    if not granted:
        note(
            f"there is no role {APP_ROLE}, and this one may not create it: CREATE ROLE {APP_ROLE} NOLOGIN, then repeat"
        )
