"""DuckDB by itself: one COPY of the same columns with the same types; nothing inferred, checked, counted or moved.

python bare_duckdb.py RAW OUTPUT ARCHIVE REPORT CASE
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import duckdb

EVENT = {
    "id": "BIGINT",
    "DATE": "VARCHAR",
    "ts": "TIMESTAMPTZ",
    "MODE": "VARCHAR",
    "user": "STRUCT(id BIGINT, name VARCHAR, geo STRUCT(lat DOUBLE, lon DOUBLE), tags VARCHAR[])",
    "distance": "DOUBLE",
    "legs": 'STRUCT("from" VARCHAR, "to" VARCHAR, minutes BIGINT)[]',
    "note": "VARCHAR",
    "active": "BOOLEAN",
    "payload": "JSON",
}
FLAT = """
    id, "DATE" AS date, ts, "user".id AS user_id, "user".name AS user_name,
    "user".geo.lat AS user_geo_lat, "user".geo.lon AS user_geo_lon, "user".tags AS user_tags,
    {distance} AS distance, legs, note, active, CAST(payload AS VARCHAR) AS payload"""
KINDS = ("BIGINT", "DOUBLE", "VARCHAR", "BOOLEAN")
WIDE = {f"c{number:03}": KINDS[number % 4] for number in range(397)}
COPY = """
COPY (
    SELECT
        {selected}, filename AS _source_file, CAST(NULL AS VARCHAR) AS _rescued,
        year(CAST("DATE" AS DATE)) AS year, month(CAST("DATE" AS DATE)) AS month, day(CAST("DATE" AS DATE)) AS day,
        "MODE" AS mode
    FROM read_json('{raw}/*', filename = true, columns = {columns}, {options}) {where}
) TO '{output}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (year, month, day, mode))
"""


def copy(raw: str, output: str, case: str) -> str:
    columns, selected, where = EVENT, FLAT.format(distance="distance"), ""
    options = "format = 'array'" if case == "arrays" else "format = 'newline_delimited'"
    if case == "wide":
        columns = {"id": "BIGINT", "DATE": "VARCHAR", "MODE": "VARCHAR"} | WIDE
        selected = ", ".join(['id, "DATE" AS date', *WIDE])
    elif case == "dirty":
        columns = EVENT | {"distance": "VARCHAR"}
        selected = FLAT.format(distance="TRY_CAST(distance AS DOUBLE)")
        options += ", ignore_errors = true"
        where = "WHERE id IS NOT NULL"
    listed = "{" + ", ".join(f"{name}: '{type_}'" for name, type_ in columns.items()) + "}"
    return COPY.format(raw=raw, output=output, selected=selected, columns=listed, options=options, where=where)


def main(raw: str, output: str, report: str, case: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET preserve_insertion_order = false")
        start, cpu = time.monotonic(), time.process_time()
        connection.execute(copy(raw, output, case))
        seconds = {"query": time.monotonic() - start, "query_cpu": time.process_time() - cpu}
    Path(report).write_text(json.dumps(seconds))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[4], sys.argv[5])
