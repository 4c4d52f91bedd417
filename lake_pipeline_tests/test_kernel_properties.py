"""Whatever documents there are, the kernel says what Python's json says; and the expression is never too generous."""

from __future__ import annotations

import gzip
import json
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lake_pipeline.errors import SchemaConflict
from lake_pipeline.evolution import evolve
from lake_pipeline.kernel import exact, shape
from lake_pipeline.kernel.layout import Layout, reserved_names
from lake_pipeline.kernel.observed import Lens, Node, observe
from lake_pipeline.kernel.ordering import MAX_ORDERS, KeyOrder, note_order
from lake_pipeline.kernel.repair import Repairer
from lake_pipeline.schema_rules import SchemaRules
from lake_pipeline.schemas import Schema
from lake_pipeline_tests.kernel_oracle import Converted, convert_files, dataset

SOME = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))

KEYS = st.one_of(
    st.sampled_from(["a", "b", "c", "id", "ts", "p", "A", "B", "Id", "a.b", "a_b", "", " ", "_", "year", "mode"]),
    st.sampled_from(["'; DROP TABLE x", 'q"q', "é", "É", "日本", "a\nb", "\\", "_source_file", "_rescued", "_RESCUED"]),
    st.sampled_from(["__lake_door_0", "__lake_door_1", "__lake_door_2", "😀", "x" * 300, "\u007f", "*", "0", "select"]),
    st.text(max_size=3),
)
# As they are written in the source.
NUMBERS = st.one_of(
    st.sampled_from(["0", "-0", "-0.0", "0.0", "1", "-1", "1.0", "1e2", "1E+2", "1.5e-3", "0e999", "5e-324"]),
    st.sampled_from(["1e400", "-1e400", "1e-400", "1e308", "1.7976931348623157e308", "1.2345678901234567e-320"]),
    st.sampled_from([str(number) for power in (53, 63, 64) for number in (2**power, 2**power + 1, 1 - 2**power)]),
    st.sampled_from(["9223372036854775807", "-9223372036854775808", "-9223372036854775809", "999999999999999"]),
    st.sampled_from(["0.1234567890123456789", "0.12345678901234567", "12345678901234567.5", "1234567890123456.5"]),
    st.sampled_from(
        ["0.30000000000000004", "0.00000000000000000000001", "100000000000000000000.0", "12345678901234.123"]
    ),
    st.integers(-(2**70), 2**70).map(str),
    st.integers(-1000, 1000).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
STRINGS = st.one_of(
    st.sampled_from(["", "x", "12", "true", "null", "228 City Road", "2024-02-30", "2024-02-29", "10:11:12", "\0"]),
    st.sampled_from(
        ["2024-01-02T03:04:05Z", "2024-01-02 03:04", "2024-01-02T03:04:05.123456+05:30", "2023-02-29T00:00"]
    ),
    st.sampled_from(
        ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2024-01-02T03:04:05.1234567Z", "\ud800"]
    ),
    st.sampled_from(["__HIVE_DEFAULT_PARTITION__", "a/b=c%20", "n" * 250, "é" * 40, "NaN", "\u2028", "😀", "\ufeff"]),
    st.text(max_size=6),
)


class Raw(str):
    """Text that stands in the source as it is."""

    __slots__ = ()


SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS.map(Raw), STRINGS)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=8,
)
RECORDS = st.dictionaries(KEYS, VALUES, max_size=5)
BAD = st.sampled_from(
    ['{"a":NaN}', '{"a":1,}', "{", "[1]", "12", "null", '{"a":1 "b":2}', '{"a":1,"a":2}', '{"p":{"x":1,"x":2}}', "x"]
)


def written(value: Any, ascii_: bool = False, space: str = "") -> str:
    """JSON text; lone surrogates are written as escapes."""
    match value:
        case Raw():
            return str(value)
        case str():
            lone = re.search("[\ud800-\udfff]", value) is not None
            return json.dumps(value, ensure_ascii=ascii_ or lone)
        case list():
            return f"[{space}" + f",{space}".join(written(item, ascii_, space) for item in value) + f"{space}]"
        case dict():
            members = (f"{written(key, ascii_)}:{space}{written(item, ascii_, space)}" for key, item in value.items())
            return f"{{{space}" + f",{space}".join(members) + f"{space}}}"
        case _:
            return json.dumps(value)


@st.composite
def files(draw: st.DrawFn, format_: str) -> tuple[str, bytes]:
    """A file's suffix and bytes."""
    records = draw(st.lists(st.one_of(RECORDS, RECORDS.map(lambda record: dict(reversed(record.items())))), max_size=5))
    records = [record for record in records for _ in range(draw(st.integers(1, 3)))]
    space = draw(st.sampled_from(["", " ", "\t"]))
    texts = [written(record, draw(st.booleans()), space) for record in records]
    if format_ == "ndjson" or draw(st.booleans()):
        texts += draw(st.lists(BAD, max_size=2)) if format_ == "ndjson" else []
        end = draw(st.sampled_from(["\n", "\r\n", "\n\n"]))
        text = end.join(draw(st.permutations(texts))) + draw(st.sampled_from(["", end]))
    else:
        text = "[" + ", ".join(texts) + "]"
    data = text.encode()
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16"]))
    if encoding != "utf-8":
        data = text.encode(encoding)
    suffix = draw(st.sampled_from(["", ".gz", ".zst"]))
    if suffix == ".gz":
        cut = draw(st.integers(0, len(data)))
        data = gzip.compress(data[:cut]) + gzip.compress(data[cut:])
    elif suffix == ".zst":
        data = pa.compress(data, "zstd", asbytes=True)
    return f".{format_}{suffix}", data


@st.composite
def batches(draw: st.DrawFn, format_: str) -> dict[str, bytes]:
    made = draw(st.lists(files(format_), min_size=1, max_size=3))
    return {f"f{number}{suffix}": data for number, (suffix, data) in enumerate(made)}


RULES = st.fixed_dictionaries(
    {"flatten": st.fixed_dictionaries({"depth": st.integers(1, 3), "arrays": st.sampled_from(["keep", "json"])})},
    optional={
        "hints": st.dictionaries(
            st.sampled_from(["a", "b", "ts", "id", "a.b"]),
            st.sampled_from(["string", "bigint", "double", "boolean", "timestamp", "json"]),
            max_size=2,
        )
    },
).map(lambda rules: rules | {"flatten": rules["flatten"] | {"keep_json": ["p"], "rename": {"b": "mode", "c": "a"}}})
PARTITIONS = st.sampled_from([[], [], ["mode"], ["year(ts)", "id"]])


def convert_anywhere(sources: dict[str, bytes], **parts: Any) -> Converted | None:
    with tempfile.TemporaryDirectory() as root:
        try:
            return convert_files(Path(root), sources, **parts)
        except SchemaConflict as conflict:
            if "partition_by" in str(conflict):  # a list or an object where a folder's name should be
                return None
            raise


@SOME
@given(batches("ndjson"), RULES, PARTITIONS)
def test_any_batch_of_ndjson_files_agrees_with_python(
    sources: dict[str, bytes], rules: dict[str, Any], partition_by: list[str]
) -> None:
    convert_anywhere(sources, schema=rules, output={"partition_by": partition_by})


@SOME
@given(batches("json"), RULES)
def test_any_batch_of_json_files_agrees_with_python(sources: dict[str, bytes], rules: dict[str, Any]) -> None:
    convert_anywhere(sources, schema=rules, source={"format": "json"})


@SOME
@given(batches("ndjson"), batches("ndjson"), st.sampled_from(["evolve", "rescue"]), RULES)
def test_a_second_manifest_changes_no_column(
    first: dict[str, bytes], second: dict[str, bytes], mode: str, rules: dict[str, Any]
) -> None:
    before = convert_anywhere(first, schema=rules)
    assert before is not None
    schema = before.results.schema
    after = convert_anywhere(second, known=schema, schema=rules | {"mode": mode})
    assert after is not None
    assert after.results.schema.columns[: len(schema.columns)] == schema.columns
    if mode == "rescue" and schema.version:
        assert after.results.schema == schema
    assert after.results.schema.version - schema.version == (after.results.schema != schema)


@SOME
@given(batches("ndjson"), RULES)
def test_the_order_of_files_changes_neither_rows_nor_types(sources: dict[str, bytes], rules: dict[str, Any]) -> None:
    backwards = dict(reversed(sources.items()))
    outcomes = [convert_anywhere(batch, schema=rules) for batch in (sources, backwards)]

    def types(converted: Converted | None) -> Counter[Any]:
        assert converted is not None
        return Counter((column.path, _unordered(column.to_json()["type"])) for column in converted.columns)

    assert types(outcomes[0]) == types(outcomes[1])
    assert outcomes[0] is not None
    assert outcomes[1] is not None
    assert {f.key: (f.status, f.rows_written) for f in outcomes[0].results.files} == {
        f.key: (f.status, f.rows_written) for f in outcomes[1].results.files
    }


def _unordered(type_: Any) -> Any:
    """A type, with the fields of its structs in no order."""
    if isinstance(type_, str):
        return type_
    if "list" in type_:
        return ("list", _unordered(type_["list"]))
    return ("struct", frozenset((name, _unordered(inner)) for name, inner in type_["struct"]))


# ---- the expression

MUTATIONS = [
    (
        r"-?\d+(\.\d+)?",
        ["NaN", "Infinity", "-Infinity", "nan", '"12"', "true", "1.7", "1e400", "12345678901234567890", "null"],
    ),
    (r"\d", ["00", "1234567890123456789", ".5", "e5", "-", "+", "0.12345678901234567"]),
    (r'"', ["'", '\\"', ""]),
    (r",", [",,", "", " ", ";", ", ,", ":"]),
    (r"[\]}]", [",]", ",}", "]", "}", " ", "}}"]),
    (r"[\[{]", ["[,", "{,", "[[", "[", "{", "{}"]),
    (r":", ["::", ",", "", "=", ":null,", ":{},"]),
    (
        r'"[^"]*"',
        ['"\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\u0061"', '"\\x"', '"\t"', "12", "{}", "[]", '"a"', '"A"'],
    ),
    (r'"(a|b|c|id)"', ['"a"', '"A"', '"\\u0061"', '"b"']),
    (r"(true|false|null)", ["True", "nul", "0", '"true"', "[]", "{}", "nulll"]),
    (r'("[^"]*":[^,{}\[\]]*)', ["\\1,\\1", "\\1,", ",\\1"]),
    (r"$", [" ", "\n", "x", "{}", ",", "\0", "]"]),
]


@st.composite
def near_misses(draw: st.DrawFn, text: str) -> str:
    for _ in range(draw(st.integers(0, 3))):
        pattern, replacements = draw(st.sampled_from(MUTATIONS))
        places = list(re.finditer(pattern, text))
        if places:
            place = draw(st.sampled_from(places))
            new = (
                place.expand(replacement)
                if "\\1" in (replacement := draw(st.sampled_from(replacements)))
                else replacement
            )
            text = text[: place.start()] + new + text[place.end() :]
    return text


TAME = st.recursive(
    st.one_of(
        st.none(), st.booleans(), NUMBERS.map(Raw), st.sampled_from(["", "x", "12", "é\n", "2024-01-02T03:04:05Z"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "c", "A"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "b", "c", "id", "p", "ts", "A", ""]), TAME, max_size=4),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([[], ["a"]]),
    st.data(),
)
def test_what_the_expression_accepts_duckdb_reads_as_python_does(
    records: list[dict[str, Any]], partition_by: list[str], data: st.DataObject
) -> None:
    declared = dataset(schema={"hints": {"ts": "timestamp"}}, output={"partition_by": partition_by})
    lens = Lens(opaque=frozenset({("p",)}), timestamps=frozenset({("ts",)}))
    root = Node()
    texts = [written(record) for record in records]
    for text in texts:
        observe(root, exact.parse(text.encode()), "f:1", lens)
    rules = SchemaRules(hints={"ts": "timestamp", "p": "json"})
    schema, _ = evolve(Schema(), root, rules, reserved_names(declared.output))
    assume(schema.columns)
    try:
        layout = Layout.of(schema, declared.output)
    except SchemaConflict:
        return
    pattern = shape.pattern(shape.narrow(root, layout))
    assume(pattern is not None)
    mutated = [data.draw(near_misses(text)) for text in texts for _ in range(6)]
    accepted = [
        text
        for text, plain in zip(mutated, pc.match_substring_regex(pa.array(mutated), pattern).to_pylist(), strict=True)
        if plain
    ]
    repairer = Repairer(layout)
    for text in accepted:
        try:
            got = _rows(layout, text)
        except duckdb.InvalidInputException:
            continue  # DuckDB says itself that it is no JSON
        fitting, rescued = repairer.split(text.encode())
        assert rescued is None, text
        assert repr(got) == repr(_rows(layout, fitting)), text


CONNECTION = duckdb.connect()


def _rows(layout: Layout, text: str) -> list[tuple[Any, ...]]:
    one = pa.table({"text": [text], "file": ["f"], "rescued": pa.nulls(1, pa.string())})  # noqa: F841 - read by name
    CONNECTION.execute("SET TimeZone = 'UTC'")
    return [tuple(row) for row in CONNECTION.execute(layout.select("one")).fetchall()]


# ---- the orders of keys


@given(st.lists(st.sets(st.integers(0, 30)), max_size=25))
def test_records_of_one_writer_come_down_to_one_order(records: list[set[int]]) -> None:
    orders: list[KeyOrder] = []
    sequences = [dict.fromkeys(f"k{number:02}" for number in sorted(record)) for record in records]
    for sequence in sequences:
        note_order(orders, sequence)
    assert len(orders) <= 1
    assert all(orders[0].holds(sequence) for sequence in sequences if sequence)


@given(st.lists(st.permutations("abcde"), max_size=30))
def test_orders_are_few_and_miss_no_key(records: list[list[str]]) -> None:
    orders: list[KeyOrder] = []
    for record in records:
        note_order(orders, dict.fromkeys(record))
    assert len(orders) <= MAX_ORDERS
    assert {key for order in orders for key in order.keys} == {key for record in records for key in record}
