"""Polars by itself: a lazy scan of the same columns with the same types into a partitioned sink.

python polars_sink.py RAW OUTPUT ARCHIVE REPORT CASE
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import polars as pl

GEO = pl.Struct({"lat": pl.Float64, "lon": pl.Float64})
USER = pl.Struct({"id": pl.Int64, "name": pl.String, "geo": GEO, "tags": pl.List(pl.String)})
LEGS = pl.List(pl.Struct({"from": pl.String, "to": pl.String, "minutes": pl.Int64}))
SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "id": pl.Int64,
    "DATE": pl.String,
    "ts": pl.String,
    "MODE": pl.String,
    "user": USER,
    "distance": pl.Float64,
    "legs": LEGS,
    "note": pl.String,
    "active": pl.Boolean,
    "payload": pl.String,
}


KINDS = (pl.Int64, pl.Float64, pl.String, pl.Boolean)
WIDE: dict[str, type[pl.DataType]] = {
    "id": pl.Int64,
    "DATE": pl.String,
    "MODE": pl.String,
} | {f"c{number:03}": KINDS[number % 4] for number in range(397)}


def events() -> list[pl.Expr]:
    user = pl.col("user").struct
    return [
        pl.col("id"),
        pl.col("DATE").alias("date"),
        pl.col("ts").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC"),
        pl.col("MODE").alias("mode"),
        user.field("id").alias("user_id"),
        user.field("name").alias("user_name"),
        user.field("geo").struct.field("lat").alias("user_geo_lat"),
        user.field("geo").struct.field("lon").alias("user_geo_lon"),
        user.field("tags").alias("user_tags"),
        pl.col("distance", "legs", "note", "active", "payload"),
    ]


def wide() -> list[pl.Expr]:
    own = [name for name in WIDE if name not in ("DATE", "MODE")]
    return [pl.col(own), pl.col("DATE").alias("date"), pl.col("MODE").alias("mode")]


def main(raw: str, output: str, report: str, case: str) -> None:
    start = time.monotonic()
    day = pl.col("DATE").str.to_date().dt
    schema: Mapping[str, pl.DataType | type[pl.DataType]]
    schema, columns = (WIDE, wide()) if case == "wide" else (SCHEMA, events())
    rows = pl.scan_ndjson(f"{raw}/*.ndjson", schema=schema, include_file_paths="_source_file").select(
        *columns,
        pl.col("_source_file"),
        pl.lit(None, pl.String).alias("_rescued"),
        day.year().alias("year"),
        day.month().alias("month"),
        day.day().alias("day"),
    )
    target = pl.PartitionBy(output, key=["year", "month", "day", "mode"], include_key=False)
    rows.sink_parquet(target, compression="zstd", compression_level=3, mkdir=True, maintain_order=False)
    Path(report).write_text(json.dumps({"query": time.monotonic() - start}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[4], sys.argv[5])
