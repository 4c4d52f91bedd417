"""What is done many records at a time is what would be done to each: misfits, narrower expressions, segments, runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake_pipeline.errors import SchemaConflict
from lake_pipeline.evolution import evolve
from lake_pipeline.kernel import exact, segments, shape
from lake_pipeline.kernel.layout import Layout, reserved_names
from lake_pipeline.kernel.matching import matched
from lake_pipeline.kernel.misfits import Misfits, parted
from lake_pipeline.kernel.observed import Lens, Node, observe
from lake_pipeline.kernel.records import Block
from lake_pipeline.kernel.repair import Repairer
from lake_pipeline.schema_rules import SchemaRules
from lake_pipeline.schemas import Schema
from lake_pipeline_tests.kernel_oracle import convert_files, convert_lines, dataset
from lake_pipeline_tests.test_kernel_properties import TAME, near_misses, written

SOME = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
HINTS: dict[str, Any] = {
    "a": "double",
    "b": "bigint",
    "c": "boolean",
    "s": "string",
    "ts": "timestamp",
    "o.a": "bigint",
}
MISFITS = st.sampled_from(
    [
        *('"x"', '"two miles"', '""', '"12"', '"é"', '"a\\n"', '"\\u0061"', '"\u007f"', '"2024-01-02T03:04:05Z"', "1"),
        *("1.0", "1e2", "-0", "01", "12345678901234567890", "0.5", "true", "false", "null", "[]", "{}", '{"a":"x"}'),
        *('"2024-02-30"', '"t2024"', "NaN", "\x01", '"\x01"', '"\\""', '["x"]', "9007199254740993"),
    ]
)
RECORDS = st.fixed_dictionaries(
    {"id": st.just("1")},
    optional={"a": MISFITS, "b": MISFITS, "c": MISFITS, "s": MISFITS, "ts": MISFITS, "p": MISFITS}
    | {"o": MISFITS.map(lambda value: f'{{"a":{value},"z":1}}')},
)


def _text(record: dict[str, str]) -> str:
    return "{" + ",".join(f'"{key}":{value}' for key, value in record.items()) + "}"


def _block(texts: list[str]) -> Block:
    return Block(pa.array(texts, pa.string()), np.arange(1, len(texts) + 1))


def _seen(texts: list[str], lens: Lens) -> Node:
    root = Node()
    for text in texts:
        try:
            observe(root, exact.parse(text.encode()), "f:1", lens)
        except exact.BadRecord:
            continue
    return root


@SOME
@given(st.lists(RECORDS.map(_text), min_size=1, max_size=12), st.data())
def test_what_is_taken_apart_at_once_is_what_each_record_alone_would_give(
    texts: list[str], data: st.DataObject
) -> None:
    declared = dataset(schema={"hints": HINTS})
    lens = Lens(opaque=frozenset({("p",)}), timestamps=frozenset({("ts",)}))
    root = _seen(texts, lens)
    if not root.children:
        return
    schema, _ = evolve(Schema(), root, SchemaRules(hints=HINTS | {"p": "json"}), reserved_names(declared.output))
    layout = Layout.of(schema, declared.output)
    texts += [data.draw(near_misses(text)) for text in texts]
    taken = parted(_block(texts), np.arange(len(texts)), Misfits.of(root, layout))
    if taken is None:
        return
    assert sorted(set(taken.places.tolist())) == taken.places.tolist()
    wide = shape.pattern(root)
    if wide and shape.covers(root, shape.narrow(root, layout)):
        whole = pc.match_substring_regex(pa.array(texts).take(pa.array(taken.places)), wide)
        assert pc.all(whole, min_count=0).as_py()
    repairer = Repairer(layout)
    for place, fitting, rescued in zip(
        taken.places.tolist(), taken.texts.to_pylist(), taken.rescued.to_pylist(), strict=True
    ):
        try:
            got = _rows(layout, fitting)
        except duckdb.InvalidInputException:
            continue  # DuckDB says itself that it is no JSON
        alone, expected = repairer.split(texts[place].encode())
        assert rescued == expected, texts[place]
        assert repr(got) == repr(_rows(layout, alone)), texts[place]


CONNECTION = duckdb.connect()


def _rows(layout: Layout, text: str) -> list[tuple[Any, ...]]:
    one = pa.table({"text": [text], "file": ["f"], "rescued": pa.nulls(1, pa.string())})  # noqa: F841 - read by name
    CONNECTION.execute("SET TimeZone = 'UTC'")
    return [tuple(row) for row in CONNECTION.execute(layout.select("one")).fetchall()]


def test_a_misfit_of_each_kind_is_taken_apart_at_once_and_rescued_as_it_was_written(tmp_path: Path) -> None:
    odd = {
        "a": ['"two miles"', "true", '"\u00e9"'],
        "b": ["1.50", "1e2", '"7"'],
        "c": ["0", '"yes"'],
        "s": ["12.0", "false"],
        "ts": ['"soon"', "17", '""'],
        "o": [f'{{"x":{value}, "z" : 1}}' for value in ('"x"', "2.5")],
    }
    plain = {"a": "1.5", "b": "2", "c": "true", "s": '"x"', "ts": '"2024-01-02T03:04:05Z"', "o": '{"x":3,"z":1}'}
    lines = [_text(plain | {key: value}) for key, values in odd.items() for value in values]
    hints = HINTS | {"o.x": "bigint"}
    converted = convert_lines(tmp_path, *([_text(plain), *lines] * 10), "{", schema={"hints": hints})
    assert converted.only_file().rows_rescued == 10 * len(lines)
    assert [entry["line"] for entry in converted.quarantined] == [10 * (len(lines) + 1) + 1]
    texts = {row["_rescued"] for row in converted.rows} - {None}
    assert {'{"a":"two miles"}', '{"b":1.50}', '{"b":1e2}', '{"s":12.0}', '{"ts":"soon"}', '{"o_x":2.5}'} <= texts
    layout = Layout.of(converted.results.schema, converted.dataset.output)
    root = _seen([_text(plain), *lines], Lens(timestamps=frozenset({("ts",)})))
    taken = parted(_block([_text(plain), *lines]), np.arange(1 + len(lines)), Misfits.of(root, layout))
    assert taken is not None
    assert taken.places.tolist() == list(range(1, 1 + len(lines)))  # and none is left for Python


@SOME
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "b", "c", "s", "ts", "p", "o"]), TAME, max_size=5), min_size=1, max_size=5
    ),
    st.sampled_from([[], ["s"]]),
    st.data(),
)
def test_a_shape_that_is_covered_is_no_wider_than_what_was_seen(
    records: list[dict[str, Any]], partition_by: list[str], data: st.DataObject
) -> None:
    declared = dataset(schema={"hints": HINTS}, output={"partition_by": partition_by})
    texts = [written(record) for record in records]
    root = _seen(texts, Lens(opaque=frozenset({("p",)}), timestamps=frozenset({("ts",)}), labels=frozenset({("s",)})))
    try:
        schema, _ = evolve(Schema(), root, SchemaRules(hints=HINTS | {"p": "json"}), reserved_names(declared.output))
        plain = shape.narrow(root, Layout.of(schema, declared.output))
    except SchemaConflict:
        return
    wide, narrow = shape.pattern(root), shape.pattern(plain)
    if wide is None or narrow is None or not shape.covers(root, plain):
        return
    candidates = pa.array(
        [text for text in texts for text in (text, *(data.draw(near_misses(text)) for _ in range(5)))]
    )
    outside = pc.and_not(pc.match_substring_regex(candidates, narrow), pc.match_substring_regex(candidates, wide))
    assert candidates.filter(outside).to_pylist() == []


@SOME
@given(
    st.lists(st.dictionaries(st.sampled_from(list("abcdefgh")), TAME, min_size=5), min_size=1, max_size=4), st.data()
)
def test_segments_match_where_the_whole_expression_does(records: list[dict[str, Any]], data: st.DataObject) -> None:
    texts = [written(dict(sorted(record.items()))) for record in records]
    root = _seen(texts, Lens())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shape, "PART_CHARS", 50)
        pattern = shape.pattern(root)
    if pattern is None:
        return
    candidates = [text for text in texts for text in (text, *(data.draw(near_misses(text)) for _ in range(5)))]
    expected = pc.match_substring_regex(pa.array(candidates), pattern).to_pylist()
    assert matched(_block(candidates), pattern)[1].tolist() == expected


@SOME
@given(
    st.lists(st.dictionaries(st.sampled_from(list("abp")), TAME, max_size=3).map(written), min_size=1, max_size=4),
    st.sampled_from(["\n", "\n\n", "\r\n", ""]),
    st.data(),
)
def test_records_matched_in_runs_are_those_matched_one_at_a_time(
    texts: list[str], end: str, data: st.DataObject
) -> None:
    pattern = shape.pattern(_seen(texts, Lens(opaque=frozenset({("p",)}))))
    if pattern is None:
        return
    assert pattern.run
    made = [data.draw(st.sampled_from(texts).flatmap(near_misses)) for _ in range(4)]
    lines = [line + end for text in data.draw(st.permutations(texts * 5 + made)) for line in text.split("\n") if line]
    expected = pc.match_substring_regex(pa.array(lines), pattern).to_pylist()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(segments, "RUN", 3)
        assert matched(_block(lines), pattern)[1].tolist() == expected


def test_keys_of_a_wide_record_that_stand_in_its_values_too(tmp_path: Path) -> None:
    keys = [f"c{number:03}" for number in range(300)]
    values = [1, 2.5, "text", True, [1, 2], {"x": "y"}]

    def line(number: int, **more: Any) -> str:
        return json.dumps({"id": number} | {key: values[place % 6] for place, key in enumerate(keys)} | more)

    texts = ['"c100":', *keys, ', "c050": 1, ']
    lines = [line(number, c002=texts[number % len(texts)]) for number in range(400)]
    lines += [line(400, c001="far"), line(401)[:-1], line(402).replace('"c150"', '"c149"')]
    converted = convert_files(
        tmp_path, {"a.ndjson": "\n".join(lines).encode()}, schema={"hints": {"c001": "double"}, "max_columns": 1000}
    )
    assert [entry["line"] for entry in converted.quarantined] == [402, 403]
    assert converted.rescued() == [{"c001": "far"}]
    assert sorted(row["id"] for row in converted.rows) == list(range(401))
