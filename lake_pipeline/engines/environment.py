"""What the processes of Spark on this machine need in their environment."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from lake_pipeline.engines.java import find_java_home
from lake_pipeline.errors import SettingsError
from lake_pipeline.settings import Settings


def check_spark(settings: Settings) -> None:
    """Spark must be there to run on.

    Raises:
        SettingsError: pyspark is not installed, or there is no Java for it.
    """
    spark_environment(settings)


def spark_environment(settings: Settings) -> dict[str, str]:
    """The variables that Spark's driver and the executors that it starts are to have.

    Raises:
        SettingsError: pyspark is not installed, or there is no Java for it.
    """
    found = find_spec("pyspark")
    if found is None or found.origin is None:
        raise SettingsError("LAKE_ENGINE=spark needs pyspark: pip install 'lake-pipeline[spark]'")
    env = {
        "JAVA_HOME": str(find_java_home(settings.java_home)),
        "SPARK_HOME": str(settings.spark_home or Path(found.origin).parent),
    }
    if settings.spark_master.startswith("local"):
        # Other masters' executors have a Python of their own. Without the address Spark listens on every interface.
        env |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    return env
