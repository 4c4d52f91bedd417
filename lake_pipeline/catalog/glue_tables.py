"""What Glue is asked to hold of a dataset: table and partitions, made and evolved; pure.

A TableInput is made of a schema and a declaration, then compared with the table that is there: columns are added to it,
at its end, and never retyped; what someone else changed is kept or refused, never overwritten.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from lake_pipeline.catalog.hive import arrow_as_hive, hive_json_type, hive_name, hive_type, partition_values
from lake_pipeline.catalog.projection import projection_parameters
from lake_pipeline.catalog.symlinks import partition_folder, table_folder
from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import CatalogConflict, ExtractFailed
from lake_pipeline.output import partition_keys
from lake_pipeline.schemas import Schema

Document = dict[str, Any]
OWNER = "lake.table_of"  # the parameter that says which dataset or extract a table is of
LEFT_OUT = "lake.columns_left_out"
_OURS = ("lake.", "projection.", "storage.location.template")
_SYMLINKS = "org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat"
_TEXT_OUTPUT = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"
_PARQUET_SERDE = {
    "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
    "Parameters": {"serialization.format": "1"},
}
_SERDES: dict[str, Document] = {
    "parquet": _PARQUET_SERDE,
    "json": {
        "SerializationLibrary": "org.openx.data.jsonserde.JsonSerDe",
        "Parameters": {"ignore.malformed.json": "false"},
    },
}
_MOST_DESCRIPTION = 2048  # letters, Glue's limit
# What TableInput takes of the Table that GetTable gives.
INPUT = (
    "Name",
    "Description",
    "Owner",
    "Retention",
    "StorageDescriptor",
    "PartitionKeys",
    "ViewOriginalText",
    "ViewExpandedText",
    "TableType",
    "Parameters",
)


def has_view(dataset: Dataset) -> bool:
    """Whether what readers see is a view that shows one row a key; JSON files are shown as they are."""
    return dataset.transform.deduplicate is not None and dataset.output.format == "parquet"


def rows_table(dataset: Dataset) -> str:
    """The name of the table of a dataset's files, which is beside its view where the dataset is deduplicated."""
    return f"{dataset.name}__rows" if has_view(dataset) else dataset.name


def table_input(dataset: Dataset, schema: Schema, store_url: str) -> Document:
    """The table of a dataset's committed files, as `create_table(TableInput=…)` takes it."""
    keys = [
        {"Name": name.lower(), "Type": "bigint" if part else "string"}
        for name, part, _ in partition_keys(dataset.output.partition_by)
    ]
    columns, left_out = _columns(schema, dataset.output.format, {key["Name"] for key in keys})
    parameters = {
        "EXTERNAL": "TRUE",
        "classification": dataset.output.format,
        OWNER: dataset.name,
        **({LEFT_OUT: ", ".join(left_out)} if left_out else {}),
        **projection_parameters(dataset.output, f"{store_url}/{table_folder(dataset.name)}"),
    }
    return {
        "Name": rows_table(dataset),
        "Description": dataset.description[:_MOST_DESCRIPTION],
        "TableType": "EXTERNAL_TABLE",
        "PartitionKeys": keys,
        "Parameters": parameters,
        "StorageDescriptor": {
            "Columns": columns,
            "Location": f"{store_url}/{table_folder(dataset.name)}",
            "InputFormat": _SYMLINKS,
            "OutputFormat": _TEXT_OUTPUT,
            "SerdeInfo": _SERDES[dataset.output.format],
        },
    }


def _columns(schema: Schema, file_format: str, keys: set[str]) -> tuple[list[Document], list[str]]:
    """The table's columns, and the names of those that Glue cannot hold. Keys are no columns: folders hold them."""
    type_of = hive_json_type if file_format == "json" else hive_type
    columns: list[Document] = []
    left_out: list[str] = []
    for column in schema.columns:
        name, type_ = hive_name(column.name), type_of(column.type)
        if name in keys:
            continue
        if name is None or type_ is None:
            left_out.append(column.name)
            continue
        columns.append({"Name": name, "Type": type_})
    # JSON lines hold no name of their raw file: it is in their own.
    own = ["_rescued"] if file_format == "json" else ["_source_file", "_rescued"]
    columns += [{"Name": name, "Type": "string"} for name in own]
    return columns, left_out


def partition_input(table: Document, dataset: str, partition: str, store_url: str) -> Document:
    """A partition such as `year=2026/mode=bike` of a table, as `batch_create_partition` takes it."""
    location = f"{store_url}/{partition_folder(dataset, partition)}"
    return {
        "Values": partition_values(partition),
        "StorageDescriptor": table["StorageDescriptor"] | {"Location": location},
    }


def extract_input(name: str, schema: pa.Schema, location: str) -> Document:
    """The table of an extract's Parquet files, which are all that lies in their folder.

    Raises:
        ExtractFailed: Athena has no type for a column.
    """
    columns = [{"Name": hive_name(field.name), "Type": arrow_as_hive(field.type)} for field in schema]
    for field, column in zip(schema, columns, strict=True):
        if None in column.values():
            raise ExtractFailed(f"{name}: Athena has no column for {field.name!r} of type {field.type}; cast it")
    return {
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "PartitionKeys": [],
        "Parameters": {"EXTERNAL": "TRUE", "classification": "parquet", OWNER: name},
        "StorageDescriptor": {
            "Columns": columns,
            "Location": location,
            "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
            "SerdeInfo": _PARQUET_SERDE,
        },
    }


def emptied(table: Document, store_url: str) -> Document:
    """The table of an extract that has no rows now: its columns, and a folder in which there is never a file."""
    kept = {name: table[name] for name in ("Name", "TableType", "PartitionKeys", "Parameters")}
    return kept | {"StorageDescriptor": table["StorageDescriptor"] | {"Location": f"{store_url}/_none/"}}


def shows_partitions(table: Document | None, wanted: Document) -> bool:
    """Whether the table that is there finds partitions as the wanted one will, so that it has those it was given."""
    if table is None or table.get("TableType") == "VIRTUAL_VIEW":
        return False
    projected = "projection.enabled"
    return bool(table.get("Parameters", {}).get(projected) == wanted["Parameters"].get(projected))


def owned(table: Document, owner: str) -> bool:
    """Whether a table was made for this owner by a lake."""
    return bool(table.get("Parameters", {}).get(OWNER) == owner)


def refuse_foreign(table: Document, owner: str) -> None:
    """A table that was made for something else stays as it is.

    Raises:
        CatalogConflict: it was.
    """
    if not owned(table, owner):
        raise CatalogConflict(
            f"{table['Name']} was not made for {owner}: rename that table, or set LAKE_GLUE_DATABASE to another one"
        )


def evolved(table: Document, wanted: Document) -> Document | None:
    """The TableInput that makes the table what is wanted; None where it is that already.

    Columns, comments and parameters that someone added stay.

    Raises:
        CatalogConflict: the table was not made by this lake, or someone changed what it rests on.
    """
    owner = wanted["Parameters"][OWNER]
    refuse_foreign(table, owner)
    if problems := [*_differences(table, wanted)]:
        raise CatalogConflict(
            f"{wanted['Name']}: {'; '.join(problems)}. Change it back, or drop the table: it is made anew"
        )
    columns = table["StorageDescriptor"]["Columns"]
    known = {column["Name"] for column in columns}
    added = [column for column in wanted["StorageDescriptor"]["Columns"] if column["Name"] not in known]
    theirs = {name: value for name, value in table["Parameters"].items() if not name.startswith(_OURS)}
    parameters = theirs | wanted["Parameters"]
    if not added and parameters == table["Parameters"]:
        return None
    storage = table["StorageDescriptor"] | {"Columns": [*columns, *added]}
    now = {name: table[name] for name in INPUT if name in table}
    return now | {"StorageDescriptor": storage, "Parameters": parameters}


def _differences(table: Document, wanted: Document) -> Iterable[str]:
    """What was changed of what the rows are read by."""
    there, ours = table["StorageDescriptor"], wanted["StorageDescriptor"]
    for name in ("Location", "InputFormat"):
        if there.get(name) != ours[name]:
            yield f"{name} is {there.get(name)}, and should be {ours[name]}"
    library = there.get("SerdeInfo", {}).get("SerializationLibrary")
    if library != ours["SerdeInfo"]["SerializationLibrary"]:
        yield f"the SerDe is {library}, and should be {ours['SerdeInfo']['SerializationLibrary']}"
    keys, wanted_keys = (
        ", ".join(f"{key['Name']} {key['Type']}" for key in document.get("PartitionKeys", []))
        for document in (table, wanted)
    )
    if keys != wanted_keys:
        yield f"its partition keys are ({keys}), and should be ({wanted_keys})"
    types = {column["Name"]: column["Type"] for column in there["Columns"]}
    for column in ours["Columns"]:
        if (found := types.get(column["Name"], column["Type"])) != column["Type"]:
            yield f"{column['Name']} is {found}, and its files hold {column['Type']}"
