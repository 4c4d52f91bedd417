"""DuckDB by itself: one COPY of the same columns with the same types; nothing inferred, checked, counted or moved.

python bare_duckdb.py RAW OUTPUT ARCHIVE REPORT
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import duckdb

COLUMNS = """{
    id: 'BIGINT', DATE: 'VARCHAR', ts: 'TIMESTAMPTZ', MODE: 'VARCHAR',
    user: 'STRUCT(id BIGINT, name VARCHAR, geo STRUCT(lat DOUBLE, lon DOUBLE), tags VARCHAR[])',
    distance: 'DOUBLE', legs: 'STRUCT("from" VARCHAR, "to" VARCHAR, minutes BIGINT)[]',
    note: 'VARCHAR', active: 'BOOLEAN', payload: 'JSON'
}"""
COPY = """
COPY (
    SELECT
        id, "DATE" AS date, ts, "user".id AS user_id, "user".name AS user_name,
        "user".geo.lat AS user_geo_lat, "user".geo.lon AS user_geo_lon, "user".tags AS user_tags,
        distance, legs, note, active, CAST(payload AS VARCHAR) AS payload,
        filename AS _source_file, CAST(NULL AS VARCHAR) AS _rescued,
        year(CAST("DATE" AS DATE)) AS year, month(CAST("DATE" AS DATE)) AS month, day(CAST("DATE" AS DATE)) AS day,
        "MODE" AS mode
    FROM read_json('{raw}/*.ndjson', format = 'newline_delimited', filename = true, columns = {columns})
) TO '{output}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (year, month, day, mode))
"""


def main(raw: str, output: str, report: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET preserve_insertion_order = false")
        start, cpu = time.monotonic(), time.process_time()
        connection.execute(COPY.format(raw=raw, output=output, columns=COLUMNS))
        seconds = {"query": time.monotonic() - start, "query_cpu": time.process_time() - cpu}
    Path(report).write_text(json.dumps(seconds))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[4])
