"""Declared checks, evaluated on the staged rows before anything is published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as pds

from lake_pipeline.checks import Checks
from lake_pipeline.errors import CheckInvalid
from lake_pipeline.kernel.json_reading import patterns, read_sql
from lake_pipeline.kernel.quoting import identifier, literal
from lake_pipeline.kernel.results import CheckOutcome, StagedFile
from lake_pipeline.output import Output, partition_keys
from lake_pipeline.schemas import Schema

_SAMPLE_ROWS = 5


@dataclass(frozen=True)
class _Check:
    name: str
    offending: str  # a query of the rows that offend


def offending_queries(checks: Checks) -> list[_Check]:
    """A query for each declared check but `row_count`, over the view `staged`; pure."""
    found: list[_Check] = []
    if checks.required:
        found.append(_where("required", " OR ".join(f"{identifier(column)} IS NULL" for column in checks.required)))
    if checks.unique:
        keys = ", ".join(map(identifier, checks.unique))
        known = " AND ".join(f"{identifier(column)} IS NOT NULL" for column in checks.unique)
        found.append(
            _Check("unique", f"SELECT * FROM staged WHERE {known} QUALIFY count(*) OVER (PARTITION BY {keys}) > 1")
        )
    if checks.ranges:
        bounds = [
            f"{identifier(column)} {operator} {_bound(bound)}"
            for column, range_ in checks.ranges.items()
            for operator, bound in (("<", range_.min), (">", range_.max))
            if bound is not None
        ]
        found.append(_where("ranges", " OR ".join(bounds) or "false"))
    if checks.patterns:
        misses = (
            f"NOT regexp_matches({identifier(column)}, {literal(pattern)})"
            for column, pattern in checks.patterns.items()
        )
        found.append(_where("patterns", " OR ".join(misses)))
    found += [_where(name, f"NOT ({expression})") for name, expression in checks.sql.items()]
    return found


def _where(name: str, condition: str) -> _Check:
    return _Check(name, f"SELECT * FROM staged WHERE {condition}")


def _bound(value: float | str) -> str:
    return literal(value) if isinstance(value, str) else repr(value)


def evaluate(
    checks: Checks,
    output: Output,
    schema: Schema,
    data: Path,
    staged: tuple[StagedFile, ...],
    sources: Mapping[int, str],
) -> tuple[CheckOutcome, ...]:
    """Every declared check's outcome on the files staged below `data`; `sources` are raw files' keys by id.

    Raises:
        CheckInvalid: an expression, a pattern or a bound cannot be evaluated on these columns.
    """
    if not checks.names:
        return ()
    rows = sum(file.rows for file in staged)
    declared = [(check, check.name in checks.blocking) for check in offending_queries(checks)]
    # Without rows none offends, and there may be no columns yet whose types an expression could fit.
    outcomes = [CheckOutcome(check.name, True, blocking, 0, ()) for check, blocking in declared]
    if rows:
        with duckdb.connect() as connection:
            mentioned = list(dict.fromkeys([*checks.required, *checks.unique, *checks.ranges, *checks.patterns]))
            _open(connection, output, schema, data, staged, sources, mentioned)
            # What a declaration says is data: its expressions may look at these rows and at nothing else.
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            outcomes = [_evaluate(connection, check, blocking) for check, blocking in declared]
    if bounds := checks.row_count:
        passed = bounds.min <= rows and (bounds.max is None or rows <= bounds.max)
        outcomes.append(CheckOutcome("row_count", passed, "row_count" in checks.blocking, 0 if passed else rows, ()))
    return tuple(sorted(outcomes, key=lambda outcome: checks.names.index(outcome.name)))


def _evaluate(connection: duckdb.DuckDBPyConnection, check: _Check, blocking: bool) -> CheckOutcome:
    try:
        if len(duckdb.extract_statements(check.offending)) != 1:
            raise CheckInvalid(f"checks.{check.name}: it must be one expression")
        counted = connection.execute(f"SELECT count(*) FROM ({check.offending})").fetchone()
        offending = int(counted[0]) if counted else 0
        sample: list[dict[str, Any]] = []
        if offending:
            cursor = connection.execute(f"SELECT * FROM ({check.offending}) LIMIT {_SAMPLE_ROWS}")
            names = [column[0] for column in cursor.description or ()]
            sample = [dict(zip(names, map(_plain, row), strict=True)) for row in cursor.fetchall()]
    except duckdb.Error as error:
        raise CheckInvalid(f"checks.{check.name}: {error}") from error
    return CheckOutcome(check.name, offending == 0, blocking, offending, tuple(sample))


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _open(
    connection: duckdb.DuckDBPyConnection,
    output: Output,
    schema: Schema,
    data: Path,
    staged: tuple[StagedFile, ...],
    sources: Mapping[int, str],
    mentioned: list[str],
) -> None:
    """Make the view `staged` of the rows, with the Hive keys and every mentioned column."""
    keys = [pa.field(key, pa.int64() if part else pa.string()) for key, part, _ in partition_keys(output.partition_by)]
    names = list(dict.fromkeys([*(column.name for column in schema.columns), *(key.name for key in keys)]))
    if output.format == "json":
        keys_by_path = {str(data / file.path): sources[file.file_id] for file in staged if file.file_id is not None}
        connection.execute(f"SET allowed_paths = [{', '.join(map(literal, [*keys_by_path, *patterns(keys_by_path)]))}]")
        connection.execute(f"CREATE VIEW staged_rows AS {read_sql(schema.columns, keys_by_path)}")
    else:
        rows = pds.dataset(
            [str(data / file.path) for file in staged],
            format="parquet",
            partition_base_dir=str(data),
            partitioning=pds.partitioning(pa.schema(keys), flavor="hive") if keys else None,
        )
        connection.register("staged_rows", rows)
    # A column that no record has had yet is NULL in all of them.
    missing = [name for name in mentioned if name not in names]
    nulls = "".join(f", NULL::VARCHAR AS {identifier(name)}" for name in missing)
    connection.execute(f"CREATE VIEW staged AS SELECT *{nulls} FROM staged_rows")
