"""A Spark session for tests, on this machine's Java or on the one in a wheel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lake_pipeline.engines.java import find_java_home
from lake_pipeline.settings import load_settings


@contextmanager
def local_spark(scratch: Path) -> Iterator[Any]:
    """Spark 3.5.6 with two threads, its clock in UTC and its files below `scratch`."""
    from pyspark.sql import SparkSession

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        environment.setenv("SPARK_LOCAL_DIRS", str(scratch))
        environment.setenv("JAVA_HOME", str(find_java_home(load_settings().java_home)))
        session = (
            SparkSession.builder.master("local[2]")
            .appName("lake_pipeline_tests")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.warehouse.dir", str(scratch / "warehouse"))
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.shuffle.partitions", "2")
            .getOrCreate()
        )
        session.sparkContext.setLogLevel("ERROR")
        yield session
        session.stop()
