"""The PySpark job that people write: infer, flatten, partitionBy, then copy and delete raw files one by one.

    python naive_spark.py RAW OUTPUT ARCHIVE REPORT CASE [--given-schema]

It is on its own: nothing of lake_pipeline is imported. `payload`, whose keys are data, is written as JSON text; left
as the struct of a thousand fields that inference makes of it, it takes three times as long to write.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

SCHEMA = (
    "id BIGINT, DATE STRING, ts STRING, MODE STRING,"
    " user STRUCT<id: BIGINT, name: STRING, geo: STRUCT<lat: DOUBLE, lon: DOUBLE>, tags: ARRAY<STRING>>,"
    " distance DOUBLE, legs ARRAY<STRUCT<from: STRING, to: STRING, minutes: BIGINT>>,"
    " note STRING, active BOOLEAN, payload STRING"
)


def flatten(raw: DataFrame, payload_is_text: bool, case: str) -> DataFrame:
    if case == "wide":
        return raw.withColumnRenamed("DATE", "date").withColumnRenamed("MODE", "mode")
    if case == "dirty":
        raw = raw.where("id IS NOT NULL AND DATE IS NOT NULL").withColumn("distance", F.col("distance").cast("double"))
    payload = F.col("payload") if payload_is_text else F.to_json("payload")
    return raw.select(
        "id",
        F.col("DATE").alias("date"),
        "ts",
        F.col("MODE").alias("mode"),
        F.col("user.id").alias("user_id"),
        F.col("user.name").alias("user_name"),
        F.col("user.geo.lat").alias("user_geo_lat"),
        F.col("user.geo.lon").alias("user_geo_lon"),
        F.col("user.tags").alias("user_tags"),
        "distance",
        "legs",
        "note",
        "active",
        payload.alias("payload"),
    )


def main(raw: str, output: str, archive: str, report: str, case: str, given_schema: bool) -> None:
    start = time.monotonic()
    spark = (
        SparkSession.builder.appName("events")
        .master("local[2]")
        .config("spark.driver.memory", "8g")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    session = time.monotonic()
    reader = spark.read.option("multiLine", case == "arrays")
    frame = reader.schema(SCHEMA).json(raw) if given_schema else reader.json(raw)
    inferred = time.monotonic()
    rows = flatten(frame, given_schema, case)
    rows = (
        rows.withColumn("year", F.year("date"))
        .withColumn("month", F.month("date"))
        .withColumn("day", F.dayofmonth("date"))
    )
    rows.write.mode("append").partitionBy("year", "month", "day", "mode").option("compression", "zstd").parquet(output)
    written = time.monotonic()
    Path(archive).mkdir()
    for path in list(Path(raw).iterdir()):
        shutil.copy(path, archive)
        path.unlink()
    moved = time.monotonic()
    seconds = {
        "session": session - start,
        "infer": inferred - session,
        "write": written - inferred,
        "move": moved - written,
    }
    Path(report).write_text(json.dumps(seconds))
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5], "--given-schema" in sys.argv)
