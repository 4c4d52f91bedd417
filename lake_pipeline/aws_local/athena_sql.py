"""Statements of Athena's SQL, carried out by DuckDB."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import sqlglot
from sqlglot import exp

from lake_pipeline.aws_local.athena_tables import AthenaError, Tables, view_query, view_text
from lake_pipeline.kernel.quoting import identifier, literal

_UNLOAD = re.compile(r"\s*UNLOAD\s*\((.*)\)\s*TO\s*'([^']*)'\s*WITH\s*\(([^()]*)\)\s*", re.IGNORECASE | re.DOTALL)
_TYPES = {
    "BIGINT": "bigint",
    "HUGEINT": "bigint",
    "INTEGER": "integer",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP_S": "timestamp",
    "TIMESTAMP_MS": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    "DATE": "date",
}


class Unsupported(Exception):
    """A statement that is no query, no view and no UNLOAD."""


@dataclass(frozen=True)
class Statement:
    """A parsed query or view; with a target, an UNLOAD of the query."""

    tree: exp.Expr
    unload_to: str | None = None


@dataclass(frozen=True)
class Answered:
    """Columns with Athena's types, and rows as text. `is_rows`: Athena repeats the names before the rows."""

    columns: list[tuple[str, str]] = field(default_factory=list)
    rows: list[list[str | None]] = field(default_factory=list)
    is_rows: bool = True


def parse(sql: str) -> Statement:
    """One statement.

    Raises:
        SqlglotError: it is no SQL that Athena would take.
        Unsupported: it is something else than a query, a view or an UNLOAD.
    """
    unload = _UNLOAD.fullmatch(sql)
    tree = sqlglot.parse_one(unload[1] if unload else sql, read="athena")
    if isinstance(tree, exp.Query) or (isinstance(tree, exp.Create) and tree.kind == "VIEW" and not unload):
        return Statement(tree, unload[2] if unload else None)
    raise Unsupported(f"{type(tree).__name__} is not carried out on this machine")


class Work:
    """One statement's work: the tables that it names are loaded into a DuckDB of its own."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, glue: Any, s3: Any, scratch: Path, database: str) -> None:
        self.tables = Tables(glue, s3, scratch)
        self._connection, self._glue, self._s3 = connection, glue, s3
        self._scratch, self._database = scratch, database
        self._loaded: set[tuple[str, str]] = set()

    def do(self, statement: Statement) -> Answered:
        """Carry it out.

        Raises:
            AthenaError: it fails, for the reason that the message gives.
        """
        if isinstance(statement.tree, exp.Create):
            self._create_view(statement.tree)
            return Answered(is_rows=False)
        sql = self._prepare(statement.tree, self._database)
        if statement.unload_to is not None:
            self._unload(sql, statement.unload_to)
            return Answered(is_rows=False)
        cursor = self._connection.execute(sql)
        columns = [(str(name), _athena_type(str(type_))) for name, type_, *_ in cursor.description or ()]
        return Answered(columns, [[_text(value) for value in row] for row in cursor.fetchall()])

    def _prepare(self, tree: exp.Expr, database: str) -> str:
        """The query in DuckDB's SQL, once every table that it names is there."""
        named = {common.alias for common in tree.find_all(exp.CTE)}
        for table in tree.find_all(exp.Table):
            if not table.name or (not table.db and table.name in named):
                continue
            table.set("catalog", None)
            table.set("db", exp.to_identifier(table.db or database, quoted=True))
            self._load(table.db, table.name.lower(), _asked(tree))
        return tree.sql(dialect="duckdb")

    def _load(self, database: str, name: str, equal: dict[str, set[str]]) -> None:
        if (database, name) in self._loaded:
            return
        self._loaded.add((database, name))
        self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(database)}")
        table = self.tables.describe(database, name)
        if (sql := view_query(table)) is None:
            self.tables.load(self._connection, table, equal)
            return
        body = self._prepare(sqlglot.parse_one(sql, read="athena"), database)
        self._connection.execute(f"CREATE VIEW {identifier(database)}.{identifier(name)} AS {body}")

    def _create_view(self, tree: exp.Create) -> None:
        target, query = tree.this, tree.expression
        sql = query.sql(dialect="athena")
        body = self._prepare(query, self._database)
        columns = [
            (str(name), _athena_type(str(type_)))
            for name, type_, *_ in self._connection.execute(f"DESCRIBE {body}").fetchall()
        ]
        database = target.db or self._database
        view = {
            "Name": target.name,
            "TableType": "VIRTUAL_VIEW",
            "Parameters": {"presto_view": "true", "comment": "Presto View"},
            "StorageDescriptor": {"Columns": [{"Name": name, "Type": "string"} for name, _ in columns]},
            "ViewOriginalText": view_text(sql, database, columns),
            "ViewExpandedText": "/* Presto View */",
        }
        try:
            there = self._glue.get_table(DatabaseName=database, Name=target.name)["Table"]
        except self._glue.exceptions.EntityNotFoundException:
            self._glue.create_table(DatabaseName=database, TableInput=view)
            return
        if view_query(there) is None:
            raise AthenaError(f"Table already exists: 'awsdatacatalog.{database}.{target.name}'")
        self._glue.update_table(DatabaseName=database, TableInput=view)

    def _unload(self, sql: str, target: str) -> None:
        bucket, _, prefix = target.removeprefix("s3://").partition("/")
        if self._s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents"):
            raise AthenaError(f"HIVE_PATH_ALREADY_EXISTS: Target directory for table already exists: {target}")
        path = self._scratch / "unloaded.parquet"
        copied = self._connection.execute(f"COPY ({sql}) TO {literal(str(path))} (FORMAT parquet)").fetchone()
        if copied and copied[0]:  # a query without rows writes no file
            name = f"{prefix.rstrip('/')}/20260101_000000_00000_abcde_{path.name}"
            self._s3.put_object(Bucket=bucket, Key=name, Body=path.read_bytes())


def _asked(tree: exp.Expr) -> dict[str, set[str]]:
    """Values that a condition which every row must meet compares a column with, by column."""
    asked: dict[str, set[str]] = {}
    for where in tree.find_all(exp.Where):
        for condition in where.this.flatten() if isinstance(where.this, exp.And) else [where.this]:
            match condition:
                case exp.EQ(this=exp.Column() as column, expression=exp.Literal() as value):
                    asked.setdefault(column.name, set()).add(value.name)
                case exp.In(this=exp.Column() as column):
                    asked.setdefault(column.name, set()).update(value.name for value in condition.expressions)
    return asked


def _athena_type(duck: str) -> str:
    if duck.endswith("[]"):
        return "array"
    return _TYPES.get(duck) or {"STRUCT": "row", "DECIMAL": "decimal", "MAP": "map"}.get(
        duck.partition("(")[0], "varchar"
    )


def _text(value: Any) -> str | None:
    """A value as Athena writes it."""
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S.") + f"{value.microsecond // 1000:03}"
        case list():
            return f"[{', '.join(_text(item) or 'null' for item in value)}]"
        case dict():
            fields = (f"{name}={_text(item) or 'null'}" for name, item in value.items())
            return f"{{{', '.join(fields)}}}"
        case _:
            return str(value)
