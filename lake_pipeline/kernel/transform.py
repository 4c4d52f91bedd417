"""Declared transforms as SQL over the parsed rows; pure.

Each rule is one SELECT around those before it, in one order: utc (as a value is taken from its record, see
instants.py), fill_nulls, standardise, enrich, drop_nulls, deduplicate. The last two only mark rows, with the rule that
drops them, so that every dropped row can be counted before it goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lake_pipeline.errors import SchemaConflict
from lake_pipeline.kernel.exact import Number, is_bigint, is_label, is_timestamp
from lake_pipeline.kernel.instants import instant_sql, is_instant
from lake_pipeline.kernel.quoting import identifier, literal
from lake_pipeline.kernel.references import Area, References
from lake_pipeline.schemas import Column, Path, Schema, type_name
from lake_pipeline.transforms import Deduplicate, Enrichment, Scalar, Transform

# Columns of the rules' own, named as no column of a table is: the rule that drops a row, its place in its file.
DROPPED = "lake: dropped by"
POSITION = "lake: position"
_SQL_TYPES = {"string": "VARCHAR", "bigint": "BIGINT", "double": "DOUBLE", "boolean": "BOOLEAN"}
_TITLE = (
    "array_to_string(list_transform(regexp_extract_all(lower({trimmed}), '[^\\s-]+|-+|\\s+'),"
    " lambda word: CASE WHEN regexp_full_match(word, '\\s+') THEN ' ' ELSE upper(word[1]) || word[2:] END), '')"
)


@dataclass(frozen=True)
class Rules:
    """A dataset's transform on one schema, its names spelled as rows have them.

    `labels` are the names of text columns that name folders, in lower case.
    """

    transform: Transform = field(default_factory=Transform)
    schema: Schema = field(default_factory=Schema)
    references: References = field(default_factory=dict)
    labels: frozenset[str] = frozenset()

    def instants(self) -> frozenset[Path]:
        """Source paths of the columns under `utc`.

        Raises:
            SchemaConflict: one has had another type since before it stood there.
        """
        columns = [column for name in self.transform.utc if (column := self._find(name))]
        for column in columns:
            if column.type != "timestamp":
                raise SchemaConflict(
                    f"transform.utc: {column.name} is {type_name(column.type)} already, and a type never changes"
                )
        return frozenset(column.path for column in columns)

    def apply(self, rows: str) -> str:
        """A query of the query `rows`' rows with every rule applied; with `DROPPED` where a rule may drop rows.

        Raises:
            SchemaConflict: a rule does not fit its column's type.
        """
        for expressions in (list(self._fills()), list(self._standards())):
            if expressions:
                rows = f"SELECT * REPLACE ({', '.join(expressions)}) FROM ({rows})"
        if added := [item for enrichment in self.transform.enrich for item in self._enriched(enrichment)]:
            rows = f"SELECT *, {', '.join(added)} FROM ({rows})"
        if self.transform.drops:
            rows = f"SELECT *, {self._missing()} AS {identifier(DROPPED)} FROM ({rows})"
        if rule := self.transform.deduplicate:
            rows = f"SELECT * REPLACE ({self._doubled(rule)} AS {identifier(DROPPED)}) FROM ({rows})"
        return rows

    def _find(self, name: str) -> Column | None:
        return next((column for column in self.schema.columns if column.name.lower() == name.lower()), None)

    def _fills(self) -> Iterator[str]:
        for name, value in self.transform.fill_nulls.items():
            if column := self._find(name):
                here = identifier(column.name)
                yield f"coalesce({here}, {self._constant(column, value)}) AS {here}"

    def _constant(self, column: Column, value: Scalar) -> str:
        """The value as a constant of the column's type."""
        utc = column.name.lower() in (name.lower() for name in self.transform.utc)
        match column.type, value:
            case "boolean", bool():
                return "true" if value else "false"
            case "bigint", int() if not isinstance(value, bool) and is_bigint(Number(value)):
                return f"CAST({value} AS BIGINT)"
            case "double", int() | float() if not isinstance(value, bool):
                return f"CAST({literal(repr(value))} AS DOUBLE)"
            case "string", str() if column.name.lower() not in self.labels or is_label(value):
                return literal(value)
            case "timestamp", str() | int() | float() if (
                is_instant(value if isinstance(value, str) else Number(value)) if utc else is_timestamp(str(value))
            ):
                return instant_sql(literal(str(value)))
        raise SchemaConflict(f"transform.fill_nulls: {column.name} is {type_name(column.type)}, which {value!r} is not")

    def _standards(self) -> Iterator[str]:
        for name, form in self.transform.standardise.items():
            column = self._find(name)
            if column and column.type != "string":
                raise SchemaConflict(
                    f"transform.standardise: {column.name} is {type_name(column.type)}, which is no text"
                )
            if column:
                here = identifier(column.name)
                trimmed = f"regexp_replace({here}, '^\\s+|\\s+$', '', 'g')"
                forms = {"trim": "{trimmed}", "upper": "upper({trimmed})", "lower": "lower({trimmed})", "title": _TITLE}
                value = forms[form].format(trimmed=trimmed)
                if column.name.lower() in self.labels:
                    # A few letters have more bytes in the other case, and a folder's name has no room to grow.
                    value = f"nullif(CASE WHEN strlen({value}) > strlen({here}) THEN {trimmed} ELSE {value} END, '')"
                yield f"{value} AS {here}"

    def _enriched(self, rule: Enrichment) -> Iterator[str]:
        columns = [self._find(rule.match.lat), self._find(rule.match.lon)]
        for column in columns:
            if column and column.type not in ("double", "bigint"):
                raise SchemaConflict(
                    f"transform.enrich: {column.name} is {type_name(column.type)}, and a coordinate is a number"
                )
        lat, lon = (f"CAST({identifier(column.name)} AS DOUBLE)" if column else "NULL::DOUBLE" for column in columns)
        areas = self.references[rule.reference]
        for name in rule.add:
            cases = "".join(f" WHEN {_inside(area, lat, lon)} THEN {literal(area.properties[name])}" for area in areas)
            known = self._find(name)
            yield f"{f'CASE{cases} END' if cases else 'NULL::VARCHAR'} AS {identifier(known.name if known else name)}"

    def _missing(self) -> str:
        """The rule's name where a row lacks what it must have."""
        known = {name: self._find(name) for name in self.transform.drop_nulls}
        unknown = [name for name, column in known.items() if column is None]
        if unknown and self.schema.by_path():
            # A name that was mistyped would drop every row.
            raise SchemaConflict(f"transform.drop_nulls: no record has ever had a column {unknown[0]}")
        conditions = [f"{identifier(column.name)} IS NULL" if column else "true" for column in known.values()]
        return f"CASE WHEN {' OR '.join(conditions) or 'false'} THEN 'drop_nulls' END"

    def _doubled(self, rule: Deduplicate) -> str:
        """The rule's name on all but one of the rows with equal keys that no other rule drops."""
        keys = [self._find(name) for name in rule.keys]
        here = identifier(DROPPED)
        if None in keys:
            return here  # no row has all of its keys
        names = [identifier(column.name) for column in keys if column]
        order = ranking(rule, self.schema, [identifier("_source_file"), identifier(POSITION)])
        rank = f"row_number() OVER (PARTITION BY {', '.join([f'{here} IS NULL', *names])} ORDER BY {order})"
        known = " AND ".join(f"{name} IS NOT NULL" for name in names)
        return f"CASE WHEN {here} IS NULL AND {known} AND {rank} > 1 THEN 'deduplicate' ELSE {here} END"


def ranking(rule: Deduplicate, schema: Schema, ties: list[str]) -> str:
    """The ORDER BY of rows with equal keys, the one that stays first; NULL is last either way."""
    column = next((column for column in schema.columns if column.name.lower() == rule.by.lower()), None)
    by = [f"{identifier(column.name)} {'DESC' if rule.keep == 'latest' else 'ASC'} NULLS LAST"] if column else []
    return ", ".join([*by, *(f"{tie} {'DESC' if rule.keep == 'latest' else 'ASC'}" for tie in ties)])


def _inside(area: Area, lat: str, lon: str) -> str:
    """Whether the position lies in the area: as many sides are east of it as make an odd number."""
    west, south, east, north = map(_double, area.box)
    sides = ", ".join(
        f"{{'x': {_double(edge.x)}, 'y': {_double(edge.y)}, 'top': {_double(edge.top)}, 's': {_double(edge.slope)}}}"
        for edge in area.edges
    )
    side = identifier("lake: side")
    crossed = f"{side}.y <= {lat} AND {lat} < {side}.top AND {lon} < {side}.x + ({lat} - {side}.y) * {side}.s"
    box = f"{lat} BETWEEN {south} AND {north} AND {lon} BETWEEN {west} AND {east}"
    return f"{box} AND len(list_filter([{sides}], lambda {side}: {crossed})) % 2 = 1"


def _double(number: float) -> str:
    text = repr(number)
    return text if "e" in text else f"{text}e0"
