"""What Glue is asked to hold: valid by botocore's own rules, evolved and never overwritten."""

from __future__ import annotations

from typing import Any

import boto3
import pyarrow as pa
import pytest
from botocore.validate import validate_parameters
from pydantic import ValidationError

from lake_pipeline.catalog.glue_tables import (
    LEFT_OUT,
    emptied,
    evolved,
    extract_input,
    partition_input,
    rows_table,
    table_input,
)
from lake_pipeline.catalog.hive import arrow_as_hive, hive_type, partition_values
from lake_pipeline.catalog.projection import outside
from lake_pipeline.catalog.symlinks import listing
from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import CatalogConflict, ExtractFailed
from lake_pipeline.schemas import Column, ListOf, Schema, StructOf, Type
from lake_pipeline_tests.lakes import EVENTS

STORE = "s3://bucket/lake"


def dataset(**output: Any) -> Dataset:
    return Dataset.model_validate(EVENTS | {"output": EVENTS["output"] | output})


def schema(**types: Type) -> Schema:
    return Schema(1, tuple(Column(name, (name,), type_) for name, type_ in types.items()))


EVERY_TYPE = schema(
    id="string",
    Mode="string",
    n="bigint",
    x="double",
    ok="boolean",
    ts="timestamp",
    payload="json",
    any="text",
    legs=ListOf(StructOf((("to", "string"), ("Seq", ListOf("bigint"))))),
)


def accepted(operation: str, parameters: dict[str, Any]) -> None:
    """Fails where botocore would refuse the request before sending it."""
    model = boto3.session.Session(region_name="eu-central-1").client("glue").meta.service_model
    validate_parameters(parameters, model.operation_model(operation).input_shape)


def test_every_type_becomes_a_column_and_folders_become_keys() -> None:
    table = table_input(dataset(), EVERY_TYPE, STORE)

    accepted("CreateTable", {"DatabaseName": "lake", "TableInput": table})
    assert table["Name"] == "events"
    assert {column["Name"]: column["Type"] for column in table["StorageDescriptor"]["Columns"]} == {
        "id": "string",
        "n": "bigint",
        "x": "double",
        "ok": "boolean",
        "ts": "timestamp",
        "payload": "string",
        "any": "string",
        "legs": "array<struct<to:string,seq:array<bigint>>>",
        "_source_file": "string",
        "_rescued": "string",
    }
    assert [(key["Name"], key["Type"]) for key in table["PartitionKeys"]] == [
        ("year", "bigint"),
        ("month", "bigint"),
        ("day", "bigint"),
        ("mode", "string"),
    ]


def test_a_table_reads_lists_of_committed_files_and_not_the_folders_of_the_files() -> None:
    storage = table_input(dataset(), EVERY_TYPE, STORE)["StorageDescriptor"]
    assert storage["Location"] == "s3://bucket/lake/_symlinks/events/"
    assert storage["InputFormat"] == "org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat"
    assert storage["SerdeInfo"]["SerializationLibrary"].endswith("ParquetHiveSerDe")
    assert listing(STORE, ["c/mode=a%20b/1.parquet", "c/2.parquet"]) == (
        b"s3://bucket/lake/c/mode=a%20b/1.parquet\ns3://bucket/lake/c/2.parquet\n"
    )


def test_a_partition_has_the_values_that_its_folders_stand_for() -> None:
    table = table_input(dataset(), EVERY_TYPE, STORE)
    folder = "year=2026/month=2/day=__HIVE_DEFAULT_PARTITION__/mode=a%20b%2F%C3%BC%3D%25"
    partition = partition_input(table, "events", folder, STORE)

    accepted("BatchCreatePartition", {"DatabaseName": "lake", "TableName": "events", "PartitionInputList": [partition]})
    assert partition["Values"] == ["2026", "2", "__HIVE_DEFAULT_PARTITION__", "a b/ü=%"]
    assert partition["StorageDescriptor"]["Location"] == f"{STORE}/_symlinks/events/{folder}/"
    assert partition["StorageDescriptor"]["Columns"] == table["StorageDescriptor"]["Columns"]
    assert partition_values("") == []


def test_a_column_that_glue_cannot_hold_is_left_out_and_named() -> None:
    deep = ListOf(StructOf((("no colon: here", "string"),)))
    odd: dict[str, Type] = {"a,b": "string", "deep": deep, "straße 1": "bigint"}
    table = table_input(dataset(), schema(**odd), STORE)

    accepted("CreateTable", {"DatabaseName": "lake", "TableInput": table})
    assert [column["Name"] for column in table["StorageDescriptor"]["Columns"]] == [
        "straße 1",
        "_source_file",
        "_rescued",
    ]
    assert table["Parameters"][LEFT_OUT] == "a,b, deep"
    assert hive_type(StructOf(())) is None


def test_types_of_parquet_sources_are_athenas_and_those_of_json_lines_are_texts() -> None:
    types = schema(**{"d": "date", "t": "time", "b": "binary", "price": "decimal(10, 2)", "ts": "timestamp"})
    table = table_input(dataset(), types, STORE)
    assert [(column["Name"], column["Type"]) for column in table["StorageDescriptor"]["Columns"]] == [
        ("d", "date"),
        ("b", "binary"),
        ("price", "decimal(10,2)"),
        ("ts", "timestamp"),
        ("_source_file", "string"),
        ("_rescued", "string"),
    ]
    assert table["Parameters"][LEFT_OUT] == "t"

    source = {"prefix": "raw/", "format": "parquet"}
    output = {"prefix": "curated/", "format": "json", "files": "one_to_one"}
    one_to_one = Dataset.model_validate(EVENTS | {"source": source, "output": output})
    lines = table_input(one_to_one, types, STORE)
    assert [(column["Name"], column["Type"]) for column in lines["StorageDescriptor"]["Columns"]] == [
        ("d", "string"),
        ("t", "string"),
        ("b", "string"),
        ("price", "decimal(10,2)"),
        ("ts", "string"),
        ("_rescued", "string"),
    ]
    assert lines["StorageDescriptor"]["SerdeInfo"]["SerializationLibrary"] == "org.openx.data.jsonserde.JsonSerDe"
    accepted("CreateTable", {"DatabaseName": "lake", "TableInput": lines})


def test_new_columns_are_added_at_the_end_and_what_someone_added_stays() -> None:
    table = table_input(dataset(), schema(id="string"), STORE) | {"VersionId": "3", "CreateTime": "now"}
    table["StorageDescriptor"]["Columns"][0]["Comment"] = "by hand"
    table["StorageDescriptor"]["Columns"].append({"Name": "theirs", "Type": "int"})
    table["Parameters"]["owner"] = "team"

    assert evolved(table, table_input(dataset(), schema(id="string"), STORE)) is None
    change = evolved(table, table_input(dataset(), schema(id="string", note="string"), STORE))

    assert change is not None
    accepted("UpdateTable", {"DatabaseName": "lake", "TableInput": change, "VersionId": "3"})
    assert change["StorageDescriptor"]["Columns"] == [
        {"Name": "id", "Type": "string", "Comment": "by hand"},
        {"Name": "_source_file", "Type": "string"},
        {"Name": "_rescued", "Type": "string"},
        {"Name": "theirs", "Type": "int"},
        {"Name": "note", "Type": "string"},
    ]
    assert change["Parameters"]["owner"] == "team"


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({"Location": "s3://elsewhere/"}, "Location is s3://elsewhere/, and should be s3://bucket/lake/_symlinks"),
        ({"InputFormat": "other"}, "InputFormat is other"),
        ({"SerdeInfo": {}}, "the SerDe is None"),
        ({"Columns": [{"Name": "id", "Type": "int"}]}, "id is int, and its files hold string"),
    ],
)
def test_a_table_whose_ground_was_changed_by_someone_is_refused(there: dict[str, Any], said: str) -> None:
    table = table_input(dataset(), schema(id="string"), STORE)
    table["StorageDescriptor"] |= there
    with pytest.raises(CatalogConflict, match=said):
        evolved(table, table_input(dataset(), schema(id="string"), STORE))


def test_other_keys_and_other_peoples_tables_are_refused() -> None:
    table = table_input(dataset(partition_by=["mode"]), schema(id="string"), STORE)
    with pytest.raises(CatalogConflict, match=r"keys are \(mode string\), and should be \(year bigint, "):
        evolved(table, table_input(dataset(), schema(id="string"), STORE))
    del table["Parameters"]["lake.table_of"]
    with pytest.raises(CatalogConflict, match="events was not made for events"):
        evolved(table, table_input(dataset(), schema(id="string"), STORE))


def test_a_declared_projection_is_athenas_properties() -> None:
    projection: dict[str, Any] = {
        "year": {"first": 2020, "last": 2035},
        "month": {"first": 1, "last": 12},
        "day": {"first": 1, "last": 31},
        "mode": {"values": ["bike", "car"]},
    }
    declared = dataset(projection=projection)
    table = table_input(declared, EVERY_TYPE, STORE)

    accepted("CreateTable", {"DatabaseName": "lake", "TableInput": table})
    properties = {name: value for name, value in table["Parameters"].items() if "projection" in name}
    assert properties == {
        "projection.enabled": "true",
        "projection.year.type": "integer",
        "projection.year.range": "2020,2035",
        "projection.month.type": "integer",
        "projection.month.range": "1,12",
        "projection.day.type": "integer",
        "projection.day.range": "1,31",
        "projection.mode.type": "enum",
        "projection.mode.values": "bike,car",
    }
    assert table["Parameters"]["storage.location.template"] == (
        f"{STORE}/_symlinks/events/year=${{year}}/month=${{month}}/day=${{day}}/mode=${{mode}}/"
    )
    inside = "year=2026/month=2/day=1/mode=bike"
    odd = ["year=1999/month=2/day=1/mode=bike", "year=2026/month=2/day=1/mode=bus", "year=x/month=2/day=1/mode=car"]
    assert list(outside(declared.output, [inside, *odd])) == odd

    injected = dataset(projection=projection | {"mode": {}})
    assert table_input(injected, EVERY_TYPE, STORE)["Parameters"]["projection.mode.type"] == "injected"
    encoded = "year=2026/month=2/day=1/mode=a%20b"
    assert list(outside(injected.output, [inside, encoded])) == [encoded]
    # A declaration that takes its projection back takes the properties back.
    change = evolved(table, table_input(dataset(), EVERY_TYPE, STORE))
    assert change is not None
    assert "projection.enabled" not in change["Parameters"]
    assert "storage.location.template" not in change["Parameters"]


@pytest.mark.parametrize(
    ("projection", "said"),
    [
        ({"year": {"first": 1, "last": 2}}, "each partition key and nothing else: year, mode"),
        ({"year": {"values": ["1"]}, "mode": {}}, "projection.year: only year"),
        ({"year": {"first": 1, "last": 2}, "mode": {"first": 1, "last": 2}}, "projection.mode: only year"),
        ({"year": {"first": 2, "last": 1}, "mode": {}}, "a last, which is not smaller"),
        ({"year": {"first": 2}, "mode": {}}, "has a first and a last"),
        ({"year": {"first": 1, "last": 2}, "mode": {"values": []}}, "one at least"),
        ({"year": {"first": 1, "last": 2}, "mode": {"values": ["a,b"]}}, "should match pattern"),
    ],
)
def test_a_projection_that_athena_could_not_compute_is_refused(projection: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        dataset(partition_by=["year(date)", "mode"], projection=projection)


def test_an_extracts_table_has_the_columns_of_its_files() -> None:
    columns = pa.schema(
        [
            ("Day", pa.int64()),
            ("d", pa.date32()),
            ("price", pa.decimal128(12, 2)),
            ("ts", pa.timestamp("us", "UTC")),
            ("legs", pa.list_(pa.struct([("to", pa.string()), ("N", pa.int32())]))),
            ("counts", pa.map_(pa.string(), pa.int64())),
        ]
    )
    table = extract_input("events_days", columns, f"{STORE}/extracts/events/days/ab/")

    accepted("CreateTable", {"DatabaseName": "lake", "TableInput": table})
    assert [column["Type"] for column in table["StorageDescriptor"]["Columns"]] == [
        "bigint",
        "date",
        "decimal(12,2)",
        "timestamp",
        "array<struct<to:string,n:int>>",
        "map<string,bigint>",
    ]
    assert emptied(table, STORE)["StorageDescriptor"]["Location"] == "s3://bucket/lake/_none/"
    with pytest.raises(ExtractFailed, match="events_days: Athena has no column for 't' of type time64"):
        extract_input("events_days", pa.schema([("t", pa.time64("us"))]), STORE)
    assert arrow_as_hive(pa.list_(pa.uint64())) is None
    assert arrow_as_hive(pa.map_(pa.string(), pa.uint64())) is None
    assert arrow_as_hive(pa.struct([("a b", pa.string())])) is None


def test_a_deduplicated_datasets_rows_lie_beside_its_view() -> None:
    once = Dataset.model_validate(EVENTS | {"transform": {"deduplicate": {"keys": ["id"], "by": "ts"}}})
    assert rows_table(once) == "events__rows"
    assert rows_table(dataset()) == "events"
