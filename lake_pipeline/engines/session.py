"""A Spark session for one conversion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lake_pipeline.errors import EngineError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class SparkOptions:
    """`master`: a Spark master's URL, or None where whoever starts the script names one, as Glue and spark-submit do.

    `part_bytes`: how many bytes of raw files one Spark task converts.
    """

    master: str | None
    part_bytes: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(document: dict[str, Any]) -> SparkOptions:
        return SparkOptions(**document)


@contextmanager
def spark_session(options: SparkOptions, name: str) -> Iterator[SparkSession]:
    """A session for as long as the block lasts.

    Raises:
        EngineError: pyspark is not installed, or Spark does not start.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise EngineError("pyspark is not installed; pip install 'lake-pipeline[spark]' brings it") from None
    builder = SparkSession.builder.appName(name).config("spark.ui.showConsoleProgress", "false")
    if options.master:
        builder = builder.master(options.master)
        if options.master.startswith("local"):
            builder = builder.config("spark.ui.enabled", "false")  # nobody looks at a page that ends with the job
    try:
        session = builder.getOrCreate()
    except Exception as error:  # Spark has no one class for what may go wrong in its own start
        raise EngineError(f"Spark does not start on {options.master or 'the master given'}: {error}") from error
    try:
        session.sparkContext.setLogLevel("ERROR")
        yield session
    finally:
        session.stop()
