"""Glue's tables as DuckDB relations, read as Athena reads them: what the catalogue says, and nothing else."""

from __future__ import annotations

import base64
import itertools
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb

from lake_pipeline.kernel.quoting import identifier, literal

NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
_SYMLINKS = "SymlinkTextInputFormat"
_VIEW = re.compile(r"/\* Presto View: (\S+) \*/")
Document = dict[str, Any]


class AthenaError(Exception):
    """A query that fails, with the reason that Athena would give."""


@dataclass(frozen=True)
class Folder:
    """A partition: its keys' values and where it lies."""

    values: tuple[str, ...]
    location: str


class Tables:
    """The tables of Glue, as `glue` and `s3` (boto3 clients) show them; what is read of S3 is counted."""

    def __init__(self, glue: Any, s3: Any, scratch: Path) -> None:
        self._glue, self._s3, self._scratch = glue, s3, scratch
        self.scanned = 0

    def describe(self, database: str, name: str) -> Document:
        """The table as Glue has it.

        Raises:
            AthenaError: there is none.
        """
        try:
            table: Document = self._glue.get_table(DatabaseName=database, Name=name)["Table"]
        except self._glue.exceptions.EntityNotFoundException:
            raise AthenaError(
                f"TABLE_NOT_FOUND: line 1:1: Table 'awsdatacatalog.{database}.{name}' does not exist"
            ) from None
        return table

    def load(self, connection: duckdb.DuckDBPyConnection, table: Document, equal: Mapping[str, set[str]]) -> None:
        """Make a DuckDB table of the rows. `equal` are the values that the query asks for, by column."""
        storage, keys = table["StorageDescriptor"], table.get("PartitionKeys", [])
        columns = [(column["Name"], duck_type(column["Type"])) for column in storage["Columns"]]
        columns += [(key["Name"], duck_type(key["Type"])) for key in keys]
        name = f"{identifier(table['DatabaseName'])}.{identifier(table['Name'])}"
        defined = ", ".join(f"{identifier(column)} {type_}" for column, type_ in columns)
        connection.execute(f"CREATE TABLE {name} ({defined})")
        for folder in self._folders(table, equal):
            for path in self._files(table, folder):
                values = {
                    key[
                        "Name"
                    ]: f"CAST({'NULL' if value == NULL_FOLDER else literal(value)} AS {duck_type(key['Type'])})"
                    for key, value in zip(keys, folder.values, strict=True)
                }
                self._insert(connection, name, table, columns, path, values)

    def _insert(
        self,
        connection: duckdb.DuckDBPyConnection,
        name: str,
        table: Document,
        columns: list[tuple[str, str]],
        path: Path,
        values: Mapping[str, str],
    ) -> None:
        is_json = "json" in table["StorageDescriptor"]["SerdeInfo"]["SerializationLibrary"].lower()
        file, lines = literal(str(path)), "format = 'newline_delimited'"
        rows = f"read_json({file}, {lines})" if is_json else f"read_parquet({file}, hive_partitioning = false)"
        described = connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()
        there = {str(row[0]).lower(): str(row[0]) for row in described}
        if is_json:  # what looks like a time is a text where the table says so
            typed = {there[column]: type_ for column, type_ in columns if column in there}
            spec = ", ".join(f"{literal(key)}: {literal(type_)}" for key, type_ in typed.items())
            rows = f"read_json({file}, {lines}, columns = {{{spec}}})"
        # Athena finds a column by its name, in any case; one that a file lacks is NULL.
        selected = [
            values.get(column)
            or (f"CAST({_utc(identifier(there[column]), type_)} AS {type_})" if column in there else "NULL")
            for column, type_ in columns
        ]
        connection.execute(f"INSERT INTO {name} SELECT {', '.join(selected)} FROM {rows}")

    def _folders(self, table: Document, equal: Mapping[str, set[str]]) -> Iterator[Folder]:
        keys = [key["Name"] for key in table.get("PartitionKeys", [])]
        if not keys:
            yield Folder((), table["StorageDescriptor"]["Location"])
        elif table.get("Parameters", {}).get("projection.enabled") == "true":
            yield from projected(table, equal)
        else:
            pages = self._glue.get_paginator("get_partitions").paginate(
                DatabaseName=table["DatabaseName"], TableName=table["Name"]
            )
            for page in pages:
                for found in page["Partitions"]:
                    yield Folder(tuple(found["Values"]), found["StorageDescriptor"]["Location"])

    def _files(self, table: Document, folder: Folder) -> Iterator[Path]:
        for url in list(self._list(folder.location)):
            if not table["StorageDescriptor"]["InputFormat"].endswith(_SYMLINKS):
                yield self._fetch(url)
                continue
            for target in self._fetch(url).read_text().splitlines():
                yield self._fetch(target)

    def _list(self, location: str) -> Iterator[str]:
        url = urlsplit(location)
        prefix = url.path.lstrip("/").rstrip("/") + "/"
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=url.netloc, Prefix=prefix):
            for item in page.get("Contents", []):
                if not item["Key"].rpartition("/")[2].startswith(("_", ".")):
                    yield f"s3://{url.netloc}/{item['Key']}"

    def _fetch(self, url: str) -> Path:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        try:
            data = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except self._s3.exceptions.NoSuchKey:
            raise AthenaError(f"HIVE_CANNOT_OPEN_SPLIT: Error opening Hive split {url}: NoSuchKey") from None
        self.scanned += len(data)
        with tempfile.NamedTemporaryFile(dir=self._scratch, delete=False) as file:
            file.write(data)
        return Path(file.name)


def projected(table: Document, equal: Mapping[str, set[str]]) -> Iterator[Folder]:
    """The partitions that a table's projection computes, of those that the query may ask for.

    Raises:
        AthenaError: an injected key has no value in the query.
    """
    parameters = table["Parameters"]
    keys = [key["Name"] for key in table["PartitionKeys"]]
    choices: list[list[str]] = []
    for key in keys:
        kind = parameters.get(f"projection.{key}.type", "")
        if kind == "integer":
            first, last = map(int, parameters[f"projection.{key}.range"].split(","))
            values = [str(number) for number in range(first, last + 1)]
        elif kind == "enum":
            values = parameters[f"projection.{key}.values"].split(",")
        elif kind == "injected" and equal.get(key):
            values = sorted(equal[key])
        else:
            raise AthenaError(
                f"CONSTRAINT_VIOLATION: For the injected projected partition column {key}, the WHERE"
                " clause must contain only static equality conditions"
            )
        choices.append([value for value in values if value in equal[key]] if key in equal else values)
    template = parameters["storage.location.template"]
    for combined in itertools.product(*choices):
        location = template
        for key, value in zip(keys, combined, strict=True):
            location = location.replace(f"${{{key}}}", value)
        yield Folder(combined, location)


def view_query(table: Document) -> str | None:
    """The SQL of a view; None where the table is none."""
    found = _VIEW.match(table.get("ViewOriginalText") or "")
    return json.loads(base64.b64decode(found[1]))["originalSql"] if found else None


def view_text(sql: str, database: str, columns: list[tuple[str, str]]) -> str:
    """A view as Athena keeps it in Glue."""
    document = {
        "originalSql": sql,
        "catalog": "awsdatacatalog",
        "schema": database,
        "columns": [{"name": name, "type": type_} for name, type_ in columns],
    }
    return f"/* Presto View: {base64.b64encode(json.dumps(document).encode()).decode()} */"


def _utc(column: str, type_: str) -> str:
    # A time with a zone is shown as UTC's wall clock.
    return f"timezone('UTC', {column})" if type_ == "TIMESTAMP" else column


_SCALARS = {"string": "VARCHAR", "int": "INTEGER", "float": "FLOAT", "binary": "BLOB"}


def duck_type(hive: str) -> str:
    """DuckDB's type for one of Hive's, such as `array<struct<seq:bigint>>`."""
    if hive.startswith("array<"):
        return f"{duck_type(hive[6:-1])}[]"
    if hive.startswith("map<"):
        key, item = _split(hive[4:-1])
        return f"MAP({duck_type(key)}, {duck_type(item)})"
    if hive.startswith("struct<"):
        fields = (field.partition(":") for field in _split(hive[7:-1]))
        return f"STRUCT({', '.join(f'{identifier(name)} {duck_type(inner)}' for name, _, inner in fields)})"
    return _SCALARS.get(hive, hive.upper())


def _split(text: str) -> list[str]:
    """The parts between the commas that are in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "<(") - (letter in ">)")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
