"""The folder of the lake's Dagster instance, and what its processes find in their environment; without Dagster."""

from __future__ import annotations

import os
from pathlib import Path

from lake_pipeline.ledger.postgres import database_url, sqlalchemy_url
from lake_pipeline.settings import Settings

CONFIG = Path(__file__).parent / "dagster.yaml"


def prepare_instance(settings: Settings) -> Path:
    """Make this process's environment, and its children's, that of the lake's instance; the instance's folder.

    A DAGSTER_HOME that is set already is used as it is.
    """
    url = database_url(settings)
    home = settings.dagster_home or settings.home_dir / "dagster"
    if settings.dagster_home is None:
        home.mkdir(parents=True, exist_ok=True)
        (home / "dagster.yaml").write_bytes(CONFIG.read_bytes())
    os.environ |= {
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "LAKE_DATABASE_URL": url,
        "LAKE_DAGSTER_DATABASE_URL": sqlalchemy_url(url, "psycopg2"),
        "LAKE_HOME": str(settings.home_dir),
    }
    return home
