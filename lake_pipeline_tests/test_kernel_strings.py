"""`schema.mode: strings`: every column is a string, and holds each value as it was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lake_pipeline.evolution import evolve
from lake_pipeline.kernel import exact, shape
from lake_pipeline.kernel.layout import Layout
from lake_pipeline.kernel.observed import Lens, Node, observe
from lake_pipeline.kernel.repair import Repairer
from lake_pipeline.schema_rules import SchemaRules
from lake_pipeline.schemas import Schema
from lake_pipeline_tests.kernel_oracle import Converted, convert_lines, dataset
from lake_pipeline_tests.test_kernel_properties import (
    NUMBERS,
    TAME,
    Raw,
    batches,
    convert_anywhere,
    near_misses,
    written,
)

STRINGS = {"mode": "strings"}
SOME = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))


def texts(root: Path, *values: str) -> list[Any]:
    """What the column `v` holds for these values, each in a record of its own that says which it is."""
    lines = [f'{{"n":{number},"v":{value}}}' for number, value in enumerate(values)]
    converted = convert_lines(root, *lines, schema=STRINGS)
    assert {str(type_) for type_ in converted.types().values()} == {"text"}
    assert converted.rescued() == []
    return [row["v"] for row in sorted(converted.rows, key=lambda row: int(row["n"]))]


def test_numbers_keep_the_text_they_were_written_with(tmp_path: Path) -> None:
    values = ["1.50", "1", "-0", "-0.0", "0.10", "1e5", "1E+05", "12345678901234567890123456789", "1e999", "0.000010"]
    assert texts(tmp_path, *values) == values


def test_strings_are_as_they_are_and_booleans_are_words(tmp_path: Path) -> None:
    strings = ["", "1.50", "null", 'a "b": 1.50', '": 5', "é\n\t😀", "back\\slash", "\0", "2024-01-02T03:04:05Z"]
    assert texts(tmp_path, *map(json.dumps, strings), "true", "false", "null") == [*strings, "true", "false", None]


def test_arrays_are_compact_json_with_their_numbers_as_written(tmp_path: Path) -> None:
    assert texts(tmp_path, '[1, 2.50, "x"]', "[]", '[ {"a" : 1.0, "a": [2e0]} ]', '["\\u00e9\\u0001", true]') == [
        '[1,2.50,"x"]',
        "[]",
        '[{"a":1.0,"a":[2e0]}]',
        '["é\\u0001",true]',
    ]


def test_objects_flatten_and_those_nested_deeper_are_compact_json(tmp_path: Path) -> None:
    line = '{"a":{"b":{"c": {"d": 1.50, "e": [1, 2]}}, "f": 2.0}}'
    converted = convert_lines(tmp_path, line, schema={"mode": "strings", "flatten": {"depth": 2}})
    (row,) = converted.rows
    assert (row["a_b_c"], row["a_f"]) == ('{"d":1.50,"e":[1,2]}', "2.0")


def test_a_scalar_where_others_have_an_object_has_a_column_beside_those_of_its_keys(tmp_path: Path) -> None:
    lines = ['{"user":{"id":1}}', '{"user":7.0}', '{"user":"Ada"}', '{"user":[1.0]}']
    converted = convert_lines(tmp_path, *lines, schema=STRINGS)
    assert {(row["user_id"], row["user"]) for row in converted.rows} == {
        ("1", None),
        (None, "7.0"),
        (None, "Ada"),
        (None, "[1.0]"),
    }
    assert converted.rescued() == []


def test_an_object_in_a_known_column_is_json_text(tmp_path: Path) -> None:
    first = convert_lines(tmp_path / "1", '{"user":"Ada"}', schema=STRINGS)
    second = convert_lines(
        tmp_path / "2",
        '{"user":{"id":1.0,"id":2}}',
        '{"user":"Bo","new":1}',
        schema=STRINGS,
        known=first.results.schema,
    )
    assert {(row["user"], row["new"]) for row in second.rows} == {('{"id":1.0,"id":2}', None), ("Bo", "1")}


def test_the_files_hold_nothing_but_strings(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"i":1,"d":1.5,"b":true,"l":[1],"o":{"k":2}}', schema=STRINGS)
    (output,) = converted.results.outputs
    schema = pq.read_schema(converted.staging / "data" / output.path)
    assert {str(field.type) for field in schema} == {"string"}


def test_only_a_string_that_no_text_can_be_is_rescued(tmp_path: Path) -> None:
    converted = convert_lines(tmp_path, '{"v":"\\ud800"}', '{"v":["\\ud800"]}', schema=STRINGS)
    assert sorted(row["v"] or "" for row in converted.rows) == ["", '["\\ud800"]']
    assert converted.only_file().rows_rescued == 1


def test_hints_have_no_place_beside_strings() -> None:
    with pytest.raises(ValidationError, match="hints have no place"):
        SchemaRules(mode="strings", hints={"ts": "timestamp"})


def test_numbers_of_any_spelling_take_the_fast_path() -> None:
    lines = [f'{{"id":{n},"price":{n}.{n}0,"far":1e{n},"note":"at 10:1{n}, 5.0"}}' for n in range(10)]
    root = Node()
    for line in lines:
        observe(root, exact.parse(line.encode()), "f:1", Lens(arrays=False))
    schema, _ = evolve(Schema(), root, SchemaRules(mode="strings"))
    plain = shape.narrow(root, Layout.of(schema, dataset().output))
    assert pc.match_substring_regex(shape.quoted(pa.array(lines)), shape.pattern(plain, numbers=True)).to_pylist() == [
        True for _ in lines
    ]


def scalar(value: Any) -> bool:
    return not isinstance(value, list)


@SOME
@given(batches("ndjson"), st.sampled_from([[], [], ["mode"], ["year(ts)", "id"]]), st.integers(1, 3))
def test_any_batch_agrees_with_python_and_rescues_no_scalar(
    sources: dict[str, bytes], partition_by: list[str], depth: int
) -> None:
    rules = {"mode": "strings", "flatten": {"depth": depth, "keep_json": ["p"], "rename": {"b": "mode", "c": "a"}}}
    converted = convert_anywhere(sources, schema=rules, output={"partition_by": partition_by})
    assert converted is not None
    assert set(converted.types().values()) <= {"text"}
    for rescued in converted.rescued():
        assert all(not scalar(value) or _no_text(value, partition_by) for value in rescued.values())


def _no_text(value: Any, partition_by: list[str]) -> bool:
    lone = isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value)
    return lone or (bool(partition_by) and isinstance(value, str) and len(value) > 16)


@SOME
@given(batches("json"), batches("ndjson"))
def test_a_second_manifest_changes_no_column(first: dict[str, bytes], second: dict[str, bytes]) -> None:
    before = convert_anywhere(first, schema=STRINGS, source={"format": "json"})
    assert before is not None
    schema = before.results.schema
    after: Converted | None = convert_anywhere(second, schema=STRINGS, known=schema)
    assert after is not None
    assert after.results.schema.columns[: len(schema.columns)] == schema.columns


VALUES = st.one_of(TAME, NUMBERS.map(Raw), st.sampled_from(['": 5', '"":1', 'x": 1.50', "\\", '\\"": 2']))


@settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "b", "c", "p", "A", "", '":1']), VALUES, max_size=4),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([[], ["a"]]),
    st.data(),
)
def test_what_the_expressions_accept_duckdb_reads_as_python_does(
    records: list[dict[str, Any]], partition_by: list[str], data: st.DataObject
) -> None:
    root = Node()
    for record in records:
        observe(root, exact.parse(written(record).encode()), "f:1", Lens(opaque=frozenset({("p",)}), arrays=False))
    schema, _ = evolve(Schema(), root, SchemaRules(mode="strings"))
    assume(schema.columns)
    layout = Layout.of(schema, dataset(output={"partition_by": partition_by}).output)
    plain = shape.narrow(root, layout)
    mutated = [data.draw(near_misses(written(record))) for record in records for _ in range(6)]
    for pattern, spelled in (
        (shape.pattern(plain), pa.array(mutated)),
        (shape.pattern(plain, numbers=True), shape.quoted(pa.array(mutated))),
    ):
        assume(pattern is not None)
        accepted = pc.match_substring_regex(spelled, pattern).to_pylist()
        for original, text, taken in zip(mutated, spelled.to_pylist(), accepted, strict=True):
            if taken:
                _same(layout, original, text)


def _same(layout: Layout, original: str, text: str) -> None:
    try:
        got = _rows(layout, text)
    except duckdb.InvalidInputException:
        return  # DuckDB says itself that it is no JSON
    fitting, rescued = Repairer(layout).split(original.encode())
    assert rescued is None, original
    assert got == _rows(layout, fitting), original


CONNECTION = duckdb.connect()


def _rows(layout: Layout, text: str) -> list[tuple[Any, ...]]:
    one = pa.table({"text": [text], "file": ["f"], "rescued": pa.nulls(1, pa.string())})  # noqa: F841 - read by name
    return [tuple(row) for row in CONNECTION.execute(layout.select("one")).fetchall()]
