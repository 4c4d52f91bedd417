"""The SQL of a conversion: how DuckDB takes columns from record texts and lays rows out in Hive partitions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from lake_pipeline.erasures import ERASED
from lake_pipeline.errors import SchemaConflict
from lake_pipeline.kernel.instants import instant_sql
from lake_pipeline.kernel.quoting import identifier, literal
from lake_pipeline.kernel.references import References
from lake_pipeline.kernel.transform import DROPPED, POSITION, Rules
from lake_pipeline.output import Output, partition_keys
from lake_pipeline.schemas import (
    RESERVED,
    Column,
    ListOf,
    Path,
    Schema,
    StructOf,
    Type,
    leaves,
    needs_parquet,
    type_name,
)
from lake_pipeline.transforms import Transform

_SQL_TYPES = {
    "string": "VARCHAR",
    "text": "VARCHAR",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "json": "JSON",
}
# Athena reads a file by its row groups and advises 128 MB or more a file
# (docs.aws.amazon.com/athena/latest/ug/performance-tuning-data-optimization-techniques.html). A row group ends at
# whichever comes first; its bytes are before compression. A file ends after the row group that makes it full.
ROW_GROUP_ROWS = 1_000_000
ROW_GROUP_BYTES = 128 * 2**20
FILE_BYTES = 512 * 2**20


def parquet_options(output: Output, row_group_bytes: int) -> list[str]:
    """A COPY's options for files that readers take in well."""
    return [
        "FORMAT parquet",
        f"COMPRESSION {output.compression}",
        f"ROW_GROUP_SIZE {ROW_GROUP_ROWS}",
        f"ROW_GROUP_SIZE_BYTES {min(ROW_GROUP_BYTES, row_group_bytes)}",
    ]


def reserved_names(output: Output) -> frozenset[str]:
    """Names that no column may take: the platform's own, and Hive keys that are computed."""
    return RESERVED | {key for key, part, _ in partition_keys(output.partition_by) if part}


@dataclass(frozen=True)
class Layout:
    """How one schema's records become rows.

    `doors` maps the path of each column that DuckDB cannot address to the root key under which repaired records
    carry it: an empty key, or one that differs from a sibling only in case. `labels` are the paths of text columns
    whose values become folder names, and so must be short; `instants` those of timestamps in any notation. `erased` is
    a condition on the table's columns, true of rows that are not to be written; empty where there are none.
    """

    schema: Schema
    output: Output
    columns: dict[Path, Column]
    parents: frozenset[Path]
    doors: dict[Path, str]
    labels: frozenset[Path]
    spec: str
    rules: Rules = field(default_factory=Rules)
    instants: frozenset[Path] = frozenset()
    erased: str = ""

    @staticmethod
    def of(
        schema: Schema,
        output: Output,
        transform: Transform | None = None,
        references: References | None = None,
        erased: str = "",
    ) -> Layout:
        """The layout; `references` are those that the transform names.

        Raises:
            SchemaConflict: `partition_by` names a column whose type no folder name can hold, or `transform.utc` one
                that is no timestamp.
        """
        labels = frozenset(column.name.lower() for column in _label_columns(schema, output))
        spelled = (replace(column, name=_spelled(column, output)) for column in schema.columns)
        rules = Rules(transform or Transform(), replace(schema, columns=tuple(spelled)), references or {}, labels)
        columns = schema.by_path()
        spec: dict[str, Any] = {}
        doors: dict[Path, str] = {}
        roots = {path[0].lower() for path in columns}
        for number, column in enumerate(columns.values()):
            if _addressable(spec, column.path):
                place = spec
                for key in column.path[:-1]:
                    place = place.setdefault(key, {})
                place[column.path[-1]] = _spec(column.type)
            else:
                door = f"__lake_door_{number}"
                while door in roots:
                    door += "_"
                doors[column.path] = door
        spec |= {doors[column.path]: _spec(column.type) for column in columns.values() if column.path in doors}
        instants = rules.instants()
        return Layout(
            schema,
            output,
            columns,
            schema.parents(),
            doors,
            frozenset(column.path for column in _label_columns(schema, output) if column.path),
            json.dumps(spec, ensure_ascii=False),
            rules,
            instants,
            erased,
        )

    @property
    def drops(self) -> bool:
        """Whether rows may be left out."""
        return self.rules.transform.drops or bool(self.erased)

    def select(self, source: str, *, typed: bool = False) -> str:
        """A query over `source` (columns text, file, rescued) with the table's columns and the Hive keys.

        `typed`: `source` has, in place of text, a struct r whose fields are columns by their names, of their types.
        Where rows may be left out, `source` has a column position too, and the query has all rows and a column
        `DROPPED` with the rule that drops them.

        Raises:
            SchemaConflict: a declared rule does not fit its column's type.
        """
        position = self.drops
        taken = f"file, rescued{', position' if position else ''}"
        record = "r" if typed else f"json_transform(text, {literal(self.spec)}) AS r"
        parsed = f"SELECT {record}, {taken} FROM {source}"
        columns = [
            f"{value} AS {identifier(_spelled(column, self.output))}"
            for column in self.columns.values()
            for value in [f"r.{identifier(column.name)}" if typed else self._value(column)]
        ]
        selected = [*columns, "file AS _source_file", "rescued AS _rescued"]
        selected += [f"position AS {identifier(POSITION)}"] if position else []
        rows = self.rules.apply(f"SELECT {', '.join(selected)} FROM ({parsed if columns else source})")
        keys = [f"{self._hive(part, column)} AS {identifier(key)}" for key, part, column in self._computed()]
        table = f"SELECT {', '.join(['*', *keys])} FROM ({rows})"
        if not self.erased:
            return table
        mark = identifier(DROPPED)
        if self.rules.transform.drops:
            # After every rule, as the request saw the table: of two equal rows the one that stood there is erased.
            erased = f"CASE WHEN {mark} IS NULL AND ({self.erased}) THEN {literal(ERASED)} ELSE {mark} END"
            return f"SELECT * REPLACE ({erased} AS {mark}) FROM ({table})"
        return f"SELECT *, CASE WHEN ({self.erased}) THEN {literal(ERASED)} END AS {mark} FROM ({table})"

    def kept(self, source: str) -> str:
        """A query of the rows that are not left out, of a table that `select` filled."""
        own = f"{identifier(DROPPED)}, {identifier(POSITION)}"
        return f"SELECT * EXCLUDE ({own}) FROM {source} WHERE {identifier(DROPPED)} IS NULL"

    def copy(self, rows: str, target: str, file_name: str, row_group_bytes: int = ROW_GROUP_BYTES) -> str:
        """The COPY that writes a query's rows as Parquet below the directory `target`, one file a Hive partition.

        A partition of more than `FILE_BYTES` has several. Row groups have `row_group_bytes` at most.
        """
        options = [
            *parquet_options(self.output, row_group_bytes),
            "RETURN_STATS true",
            f"FILE_SIZE_BYTES {FILE_BYTES}",
            f"FILENAME_PATTERN {literal(file_name + '-{i}')}",
        ]
        if keys := [identifier(key) for key, _, _ in partition_keys(self.output.partition_by)]:
            options.append(f"PARTITION_BY ({', '.join(keys)})")
        return f"COPY ({rows}) TO {literal(target)} ({', '.join(options)})"

    def _computed(self) -> list[tuple[str, str | None, str]]:
        """Hive keys that no column of the table holds by that name."""
        return [
            item for item in partition_keys(self.output.partition_by) if item[1] or _find(self.schema, item[2]) is None
        ]

    def _value(self, column: Column) -> str:
        keys = (self.doors[column.path],) if column.path in self.doors else column.path
        value = "r" + "".join(f".{identifier(key)}" for key in keys)
        if column.path in self.instants:
            return instant_sql(value)
        if column.type == "timestamp":
            return f"CAST({value} AS TIMESTAMPTZ)"
        # As text: Parquet's logical type JSON is read as bytes by Polars and as an extension type by Arrow.
        return f"CAST({value} AS {_plain_sql_type(column.type)})" if "json" in leaves(column.type) else value

    def _hive(self, part: str | None, name: str) -> str:
        column = _find(self.schema, name)
        if part is None or column is None:
            return "NULL::BIGINT" if part else "NULL::VARCHAR"
        if column.type in ("timestamp", "date"):
            return f"{part}({identifier(_spelled(column, self.output))})"
        if column.type in ("string", "text"):
            return f"{part}(TRY_CAST({identifier(_spelled(column, self.output))} AS TIMESTAMP))"
        raise SchemaConflict(
            f"output.partition_by: {part}({name}) needs a timestamp, a date or text, and {name} is"
            f" {type_name(column.type)}"
        )


def _spelled(column: Column, output: Output) -> str:
    """The column's name, spelled as `partition_by` spells it: engines ignore case, and folder names do not."""
    keys = (key for key, part, _ in partition_keys(output.partition_by) if part is None)
    return next((key for key in keys if key.lower() == column.name.lower()), column.name)


def _find(schema: Schema, name: str) -> Column | None:
    return next((column for column in schema.columns if column.name.lower() == name.lower()), None)


def _label_columns(schema: Schema, output: Output) -> list[Column]:
    """Text columns whose values become folder names."""
    columns = [_find(schema, name) for _, part, name in partition_keys(output.partition_by) if part is None]
    for column in columns:
        if column and (column.type in ("json", "binary") or not isinstance(column.type, str)):
            raise SchemaConflict(
                f"output.partition_by: {column.name} is {type_name(column.type)}, which no folder name can hold"
            )
    return [column for column in columns if column and column.type in ("string", "text")]


def _addressable(spec: dict[str, Any], path: Path) -> bool:
    """Whether the path fits into the tree: no empty key, no sibling that differs only in case, no leaf on the way."""
    place: Any = spec
    for depth, key in enumerate(path):
        if key == "" or not isinstance(place, dict):
            return False
        if any(other.lower() == key.lower() and other != key for other in place):
            return False
        if key not in place:
            return "" not in path[depth:]
        place = place[key]
    return False


def _plain_sql_type(type_: Type) -> str:
    """The SQL type with JSON as text."""
    match type_:
        case ListOf(element):
            return f"{_plain_sql_type(element)}[]"
        case StructOf(fields):
            return f"STRUCT({', '.join(f'{identifier(name)} {_plain_sql_type(inner)}' for name, inner in fields)})"
        case _:
            return "VARCHAR" if type_ == "json" else _SQL_TYPES[type_]


def _spec(type_: Type) -> Any:
    """The type as `json_transform` wants it; timestamps are taken as text, proved by the expression, and cast later."""
    match type_:
        case ListOf(element):
            return [_spec(element)]
        case StructOf(fields):
            return {name: _spec(inner) for name, inner in fields}
        case "timestamp":
            return "VARCHAR"
        case _ if needs_parquet(type_):
            return "VARCHAR"  # of typed sources alone, which are not parsed
        case _:
            return _SQL_TYPES[type_]
