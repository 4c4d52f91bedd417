"""pyarrow, Polars, Spark and DuckDB read the same lake, by its files alone, with equal results."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from lake_pipeline.lake import Lake
from lake_pipeline_tests.lakes import lake_of, land, run
from lake_pipeline_tests.spark import local_spark

Rows = list[dict[str, Any]]

DECLARATION: dict[str, Any] = {
    "name": "events",
    "source": {"prefix": "raw/", "format": "ndjson", "group": "{year}/{week}/"},
    "schema": {
        "hints": {"ts": "timestamp", "ratio": "double"},
        "flatten": {"depth": 2, "rename": {"DATE": "date"}, "keep_json": ["payload", "user.geo"]},
    },
    "output": {"prefix": "curated/", "partition_by": ["year(date)", "month(date)", "mode"]},
}
FIRST = [
    '{"id": 1, "DATE": "2026-02-01", "mode": "bike", "ts": "2026-02-03T10:00:00.123456+01:00", "on": true, "ratio": 3,'
    ' "note": "Zoë \\"日本\\" \\n\\u0000", "big": -9223372036854775808, "price": 0.1, "user": {"name": "Ada",'
    ' "geo": {"lat": 48.2, "lon": 1e2}}, "tags": ["ü", null, ""], "legs": [{"to": "x", "n": 1, "more": {"a": [1]}},'
    ' {"to": null, "n": null, "more": 2.50}], "marks": [1, "a", null, {"b": 1}], "payload": {"k": [1, {"v": null}]},'
    ' "grid": [[1, 2], [], null]}',
    '{"id": 2, "DATE": "2026-02-01", "mode": "a b/ü=%", "ts": null, "on": false, "ratio": 2.5, "note": "", "big": 1,'
    ' "price": -0.0, "user": {"name": null, "geo": {}}, "tags": [], "legs": [], "marks": [], "payload": "text",'
    ' "grid": []}',
    '{"id": 3, "DATE": "2026-11-30", "ts": "tomorrow", "on": null, "ratio": 9007199254740993, "note": 7,'
    ' "big": 9223372036854775807, "price": 1.7976931348623157e308, "legs": null, "unknown": null}',
    '{"id": 4, "mode": "日本"}',
]
SECOND = [
    '{"id": 5, "DATE": "2026-02-01", "mode": "bike", "added": {"name": "neu", "n": 1}, "since": [{"x": 1.5}]}',
    '{"id": 6, "DATE": "2026-02-02", "mode": "bike", "ts": "2026-02-03 10:00", "added": {"name": "ñ"},'
    ' "legs": [{"to": "y"}]}',
]
TYPES = {
    "id": "bigint",
    "date": "string",
    "ts": "timestamp",
    "on": "boolean",
    "ratio": "double",
    "note": "string",
    "big": "bigint",
    "price": "double",
    "user_name": "string",
    "user_geo": "string",
    "tags": "array<string>",
    "legs": "array<struct<to:string,n:bigint,more:string>>",
    "marks": "array<string>",
    "payload": "string",
    "grid": "array<array<bigint>>",
    "added_name": "string",
    "added_n": "bigint",
    "since": "array<struct<x:double>>",
    "_source_file": "string",
    "_rescued": "string",
    "year": "int",
    "month": "int",
    "mode": "string",
}


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with local_spark(tmp_path_factory.mktemp("spark")) as session:
        yield session


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, shared_database_url: str) -> Iterator[Lake]:
    """A table with files of two schema versions."""
    with (
        pytest.MonkeyPatch.context() as environment,
        lake_of(environment, tmp_path_factory.mktemp("lake"), shared_database_url, DECLARATION) as opened,
    ):
        for week, lines in (("07", FIRST), ("08", SECOND)):
            land(opened, f"raw/2026/week{week}/a.json", *lines)
            assert run(opened) == 1
        assert opened.schema("events").version == 2
        yield opened


def table_root(lake: Lake) -> Path:
    assert lake.store.root is not None
    return lake.store.root / "curated"


def by_id(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: row["id"])


def plain(value: Any) -> Any:
    """A value as every reader has it: instants in UTC, structs as dicts, the sign of zero kept."""
    match value:
        case datetime():
            return value.astimezone(UTC)  # Spark's are without a zone, in this machine's
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
        case float():
            return repr(value)
        case _:
            assert not isinstance(value, Decimal | bytes)
            return value


def by_pyarrow(lake: Lake, _: Any) -> Rows:
    files = sorted(table_root(lake).rglob("*.parquet"))
    hive = pads.partitioning(
        pa.schema([("year", pa.int64()), ("month", pa.int64()), ("mode", pa.string())]), flavor="hive"
    )
    schema = pa.unify_schemas([hive.schema, *(pq.read_schema(file) for file in files)])
    return list(pads.dataset(table_root(lake), schema=schema, partitioning=hive).to_table().to_pylist())


def by_polars(lake: Lake, _: Any) -> Rows:
    keys = {"year": pl.Int64, "month": pl.Int64, "mode": pl.String}
    files = [
        pl.scan_parquet(file, hive_partitioning=True, hive_schema=keys)
        for file in sorted(table_root(lake).rglob("*.parquet"))
    ]
    return list(pl.concat(files, how="diagonal").collect().to_dicts())


def by_duckdb(lake: Lake, _: Any) -> Rows:
    types = "{year: BIGINT, month: BIGINT, mode: VARCHAR}"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.sql(
            f"FROM read_parquet('{table_root(lake)}/**/*.parquet', union_by_name = true, hive_types = {types})"
        )
        return list(found.to_arrow_table().to_pylist())


def by_spark(lake: Lake, spark: Any) -> Rows:
    return collected(spark.read.option("mergeSchema", "true").parquet(str(table_root(lake))))


def collected(frame: Any) -> Rows:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # pyspark leaves the socket of its answer to the collector
        rows = [row.asDict(recursive=True) for row in frame.collect()]
        gc.collect()
    return rows


READERS: dict[str, Callable[[Lake, Any], Rows]] = {
    "polars": by_polars,
    "duckdb": by_duckdb,
    "spark": by_spark,
}


@pytest.mark.parametrize("reader", READERS)
def test_files_of_two_schema_versions_read_alike_by_pyarrow_and(reader: str, lake: Lake, spark: Any) -> None:
    expected = [plain(row) for row in by_id(by_pyarrow(lake, spark))]
    assert [row["id"] for row in expected] == [1, 2, 3, 4, 5, 6]
    assert set(expected[0]) == set(TYPES)
    assert [plain(row) for row in by_id(READERS[reader](lake, spark))] == expected


def test_what_is_read_is_what_the_records_said(lake: Lake) -> None:
    first, second, third, fourth, fifth, sixth = by_id(by_pyarrow(lake, None))
    assert first == {
        "id": 1,
        "date": "2026-02-01",
        "ts": datetime(2026, 2, 3, 9, 0, 0, 123456, UTC),
        "on": True,
        "ratio": 3.0,
        "note": 'Zoë "日本" \n\0',
        "big": -(2**63),
        "price": 0.1,
        "user_name": "Ada",
        "user_geo": '{"lat":48.2,"lon":100.0}',
        "tags": ["ü", None, ""],
        "legs": [{"to": "x", "n": 1, "more": '{"a":[1]}'}, {"to": None, "n": None, "more": "2.5"}],
        "marks": ["1", '"a"', None, '{"b":1}'],
        "payload": '{"k":[1,{"v":null}]}',
        "grid": [[1, 2], [], None],
        "_source_file": "raw/2026/week07/a.json",
        "_rescued": None,
        **dict.fromkeys(["added_name", "added_n", "since"]),
        **{"year": 2026, "month": 2, "mode": "bike"},
    }
    assert (second["tags"], second["legs"], second["note"], second["mode"]) == ([], [], "", "a b/ü=%")
    assert third["_rescued"] == '{"ts":"tomorrow","ratio":9007199254740993,"note":7}'
    assert (third["big"], third["mode"], third["legs"]) == (2**63 - 1, None, None)
    assert (fourth["year"], fourth["mode"]) == (None, "日本")
    assert (fifth["added_name"], fifth["added_n"], fifth["since"]) == ("neu", 1, [{"x": 1.5}])
    assert sixth["ts"] == datetime(2026, 2, 3, 10, tzinfo=UTC)


def test_spark_has_the_schemas_types_with_merging_and_needs_none_where_a_catalogue_names_them(
    lake: Lake, spark: Any
) -> None:
    merged = spark.read.option("mergeSchema", "true").parquet(str(table_root(lake)))
    assert {field.name: field.dataType.simpleString() for field in merged.schema.fields} == TYPES
    types = ", ".join(f"`{name}` {type_}" for name, type_ in TYPES.items())
    named = spark.read.option("mergeSchema", "false").schema(types).parquet(str(table_root(lake)))
    assert by_id(collected(named)) == by_id(collected(merged))


def test_spark_without_merging_or_types_reads_every_row_with_the_columns_of_one_version(lake: Lake, spark: Any) -> None:
    found = by_id(collected(spark.read.parquet(str(table_root(lake)))))
    expected = by_id(by_spark(lake, spark))
    assert set(found[0]) in (set(TYPES), set(TYPES) - {"added_name", "added_n", "since"})
    assert found == [{name: row[name] for name in found[0]} for row in expected]
