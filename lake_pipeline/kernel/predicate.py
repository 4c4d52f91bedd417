"""Predicates that tell which rows to erase: SQL over a table's columns, proved to be no more before it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import duckdb

from lake_pipeline.dataset import Dataset
from lake_pipeline.erasures import Erasure
from lake_pipeline.errors import PredicateInvalid
from lake_pipeline.kernel.quoting import identifier, literal
from lake_pipeline.output import partition_keys
from lake_pipeline.schemas import ListOf, Schema, StructOf, Type, decimal_of

_SQL_TYPES = {
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
    "date": "DATE",
    "time": "TIME",
    "binary": "BLOB",
}
# What an expression may be made of; no subquery, window, parameter or star.
_CLASSES = frozenset({"COMPARISON", "CONJUNCTION", "CONSTANT", "COLUMN_REF", "FUNCTION", "OPERATOR", "CAST", "BETWEEN"})
_MORE_CLASSES = frozenset({"CASE", "LAMBDA", "TYPE", "COLLATE"})
_NOT_TO_BE_FORETOLD = frozenset({"current_localtime", "current_localtimestamp", "age", "version"})
_MACROS = re.compile(r"(list|array)_\w+|if|nullif|split_part|fdiv|fmod|date_add|json")


def sql_type(type_: Type) -> str:
    """A column's type as DuckDB reads it from curated files."""
    match type_:
        case ListOf(element):
            return f"{sql_type(element)}[]"
        case StructOf(fields):
            return f"STRUCT({', '.join(f'{identifier(name)} {sql_type(inner)}' for name, inner in fields)})"
        case _:
            return type_.upper() if decimal_of(type_) else _SQL_TYPES.get(type_, "VARCHAR")


def table_columns(dataset: Dataset, schema: Schema) -> dict[str, str]:
    """Name and SQL type of each column that a predicate may name: the table's, Hive keys included."""
    columns = {column.name: sql_type(column.type) for column in schema.columns}
    known = {name.lower() for name in columns}
    keys = {key: "BIGINT" if part else "VARCHAR" for key, part, _ in partition_keys(dataset.output.partition_by)}
    columns |= {"_source_file": "VARCHAR", "_rescued": "VARCHAR"}
    return columns | {key: type_ for key, type_ in keys.items() if key.lower() not in known}


def check_predicate(predicate: str, dataset: Dataset, schema: Schema) -> None:
    """Prove that a predicate is one Boolean expression over the table's columns, and touches nothing else.

    Raises:
        PredicateInvalid: it is not; the message says why.
    """
    with duckdb.connect() as connection:
        connection.execute("SET enable_external_access = false")
        connection.execute("SET autoload_known_extensions = false")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET lock_configuration = true")
        expression = _parsed(connection, predicate)
        nodes = list(_nodes(expression))
        if strange := sorted({node["class"] for node in nodes} - _CLASSES - _MORE_CLASSES):
            raise PredicateInvalid(f"it may be made of columns, constants and functions, and has {strange[0].lower()}")
        for name in sorted({node["function_name"] for node in nodes if node["class"] == "FUNCTION"}):
            _check_function(connection, name)
        columns = table_columns(dataset, schema)
        _check_names(nodes, {name.lower() for name in columns}, dataset.name)
        _check_type(connection, predicate, columns)


def erased_sql(erasures: Iterable[Erasure], files: Mapping[str, int]) -> str:
    """The condition of rows that are not to be written, of files with these ids by key; empty where none can be."""
    conditions = []
    for erasure in erasures:
        later = [key for key, id_ in files.items() if id_ > erasure.last_file_id]
        if len(later) < len(files):
            conditions.append(matching_sql(erasure.predicate, later))
    return " OR ".join(f"({condition}) IS TRUE" for condition in conditions)


def matching_sql(predicate: str, but_not_of: Iterable[str] = ()) -> str:
    """The condition of rows of which the predicate is true and that are not of these source keys."""
    # A predicate may end in a comment.
    condition = f"({predicate}\n)"
    spared = ", ".join(map(literal, but_not_of))
    return f"{condition} AND _source_file NOT IN ({spared})" if spared else condition


def _parsed(connection: duckdb.DuckDBPyConnection, predicate: str) -> Any:
    """The expression's tree. The predicate is parsed as all of a WHERE clause, so that it cannot close it."""
    template, found = (_tree(connection, condition) for condition in ("true", predicate))
    if found is None or template is None:
        raise PredicateInvalid(_syntax_error(connection, predicate))
    expression = found.pop("where_clause", None)
    template.pop("where_clause")
    if expression is None or found != template:
        raise PredicateInvalid("it must be one expression, such as user_id = 'x'")
    return expression


def _tree(connection: duckdb.DuckDBPyConnection, condition: str) -> Any:
    text = connection.execute("SELECT json_serialize_sql(?)", [_query(condition)]).fetchone()
    document: dict[str, Any] = json.loads(text[0]) if text else {"error": True}
    if document["error"] or len(document["statements"]) != 1:
        return None
    statement = document["statements"][0]
    return _without_places(statement["node"]) | {"rest": {key: statement[key] for key in statement if key != "node"}}


def _query(condition: str) -> str:
    return f"SELECT 1 FROM erasing WHERE {condition}\n"


def _syntax_error(connection: duckdb.DuckDBPyConnection, predicate: str) -> str:
    try:
        connection.extract_statements(_query(predicate))
    except duckdb.Error as error:
        return str(error).split("\n")[0]
    return "it must be one expression, such as user_id = 'x'"


def _without_places(node: Any) -> Any:
    """A tree without where in the text each part of it stands."""
    if isinstance(node, dict):
        return {key: _without_places(item) for key, item in node.items() if not key.startswith("query_location")}
    return [_without_places(item) for item in node] if isinstance(node, list) else node


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for item in tree.values():
            yield from _nodes(item)
    elif isinstance(tree, list):
        for item in tree:
            yield from _nodes(item)


def _check_function(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """A later conversion must find the same of the same row, so clocks, chance and the session are out."""
    kinds = connection.execute(
        "SELECT DISTINCT function_type, stability FROM duckdb_functions() WHERE function_name = ?", [name.lower()]
    ).fetchall()
    scalar = ("scalar", "CONSISTENT") in kinds and all(stability in ("CONSISTENT", None) for _, stability in kinds)
    macro = any(kind == "macro" for kind, _ in kinds) and _MACROS.fullmatch(name.lower())
    if name.lower() in _NOT_TO_BE_FORETOLD or not (scalar or macro):
        raise PredicateInvalid(f"{name} is no function whose result depends on the row alone")


def _check_names(nodes: list[dict[str, Any]], columns: set[str], table: str) -> None:
    """Every name is a column's or a lambda's parameter: others DuckDB may take for functions, such as today's date."""
    lambdas = [node["lhs"] for node in nodes if node["class"] == "LAMBDA"]
    parameters = {name.lower() for node in _nodes(lambdas) for name in node.get("column_names", ())}
    named = {node["column_names"][0]: None for node in nodes if node["class"] == "COLUMN_REF"}
    if strange := [name for name in named if name.lower() not in columns | parameters]:
        raise PredicateInvalid(f"{table} has no column {strange[0]}")
    if not any(name.lower() in columns for name in named):
        raise PredicateInvalid(f"it names no column of {table}")


def _check_type(connection: duckdb.DuckDBPyConnection, predicate: str, columns: Mapping[str, str]) -> None:
    declared = ", ".join(f"{identifier(name)} {type_}" for name, type_ in columns.items())
    try:
        connection.execute(f"CREATE TABLE erasing ({declared})")
        connection.execute(f"EXPLAIN {_query(predicate)}")
        described = connection.execute(f"DESCRIBE SELECT ({predicate}\n) FROM erasing").fetchone()
    except duckdb.Error as error:
        raise PredicateInvalid(str(error).split("\n\n")[0]) from error
    if described is None or described[1] != "BOOLEAN":
        raise PredicateInvalid(f"it must be true or false, and is {described[1] if described else 'nothing'}")
