"""An old system's table, brought into a DuckDB of this machine: counted by state, and read in the order of keys.

It may be larger than memory: DuckDB sorts and spills within its limit, in a scratch folder.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import duckdb

from lake_pipeline.errors import ImportInvalid
from lake_pipeline.importing.old_files import Columns, OldFile, Wanted, choose_columns
from lake_pipeline.kernel.quoting import literal

_ROWS = 10_000
# Seconds or milliseconds since 1970, as DynamoDB's tables often have them; or what DuckDB reads, without a zone in UTC.
_TIME = """CASE
    WHEN regexp_full_match({0}, '[0-9]{{9,10}}([.][0-9]+)?')
        THEN make_timestamp(CAST(1e6 * CAST({0} AS DOUBLE) AS BIGINT))
    WHEN regexp_full_match({0}, '[0-9]{{12,13}}') THEN make_timestamp(1000 * CAST({0} AS BIGINT))
    ELSE CAST(TRY_CAST({0} AS TIMESTAMPTZ) AS TIMESTAMP)
END"""


@dataclass(frozen=True)
class Relation:
    """Rows in DuckDB: SQL for FROM, the columns that they have, and SQL for a column's text with its name as `{}`.

    `is_json`: `{}` stands in a JSON path.
    """

    sql: str
    columns: Collection[str]
    text: str
    is_json: bool = False

    def value(self, column: str) -> str:
        name = column.replace('"', '\\"' if self.is_json else '""')
        return self.text.replace("{}", name.replace("'", "''") if self.is_json else name)


@dataclass(frozen=True)
class Counts:
    """Rows of the dataset by state, and how many there are of other keys."""

    states: dict[str, int]
    elsewhere: int


class OldTable:
    """The rows of one dataset, one for each key: the newest, of equally new ones one that is done."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, done: Collection[str]) -> None:
        self._connection = connection
        self._done = sorted({word.upper() for word in done})
        connection.execute("CREATE TABLE old (key VARCHAR, state VARCHAR, etag VARCHAR, done_at TIMESTAMP)")

    def add(self, relation: Relation, wanted: Wanted, prefixes: Sequence[tuple[str, str]]) -> Columns:
        """Take over rows; keys as `prefixes` translates them, None where none fits. The columns that were read.

        Raises:
            ImportInvalid: columns are missing, or the rows cannot be read.
        """
        columns = choose_columns(relation.columns, wanted)
        key = relation.value(columns.key)
        cases = " ".join(
            f"WHEN starts_with({key}, {literal(old)}) THEN {literal(new)} || substr({key}, {len(old) + 1})"
            for old, new in prefixes
        )
        etag = f"nullif(trim({relation.value(columns.etag)}, '\"'), '')" if columns.etag else "NULL"
        time = _TIME.format(relation.value(columns.time)) if columns.time else "NULL"
        try:
            self._connection.execute(
                f"INSERT INTO old SELECT CASE {cases} END, {relation.value(columns.state)}, {etag}, {time}"
                f" FROM {relation.sql}"
            )
        except duckdb.Error as error:
            raise ImportInvalid(str(error)) from error
        return columns

    def is_done(self, state: str) -> bool:
        return state.upper() in self._done

    def count(self) -> Counts:
        rows = self._connection.execute("SELECT key IS NULL, coalesce(state, ''), count(*) FROM old GROUP BY ALL")
        found = rows.fetchall()
        states = {state: count for elsewhere, state, count in sorted(found) if not elsewhere}
        return Counts(states, sum(count for elsewhere, _, count in found if elsewhere))

    def files(self) -> Iterator[OldFile]:
        """The rows by key, in the order of its bytes, streamed."""
        words = ", ".join(map(literal, self._done))
        rows = self._connection.cursor().execute(
            f"""
            SELECT key, done, etag, timezone('UTC', done_at) FROM (
                SELECT key, upper(state) IN ({words}) IS TRUE AS done, etag, done_at FROM old WHERE key IS NOT NULL
            )
            QUALIFY row_number() OVER (PARTITION BY key ORDER BY done_at DESC NULLS LAST, done DESC) = 1
            ORDER BY key
            """
        )
        while page := rows.fetchmany(_ROWS):
            yield from (OldFile(*row) for row in page)
