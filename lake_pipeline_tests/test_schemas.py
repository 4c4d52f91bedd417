"""How a schema is set, grows and refuses: the rules, without a file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake_pipeline.errors import SchemaConflict
from lake_pipeline.evolution import evolve
from lake_pipeline.kernel.exact import parse
from lake_pipeline.kernel.observed import Lens, Node, observe
from lake_pipeline.schema_rules import SchemaRules
from lake_pipeline.schemas import RESERVED, Column, ListOf, Schema, StructOf, type_name


def seen(*records: Any, lens: Lens | None = None) -> Node:
    root = Node()
    for line, record in enumerate(records, 1):
        text = record if isinstance(record, str) else json.dumps(record)
        observe(root, parse(text.encode()), f"raw/a.ndjson:{line}", lens or Lens())
    return root


def types(schema: Schema) -> dict[str, str]:
    return {column.name: type_name(column.type) for column in schema.columns}


def first(*records: Any, **rules: Any) -> Schema:
    schema, _ = evolve(Schema(), seen(*records), SchemaRules.model_validate(rules))
    return schema


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([1, -5], "bigint"),
        ([1, 2**53 + 1], "bigint"),
        ([1, 2**70], "bigint"),
        ([2**70], "bigint"),
        ([1.5], "double"),
        ([1, 1.5], "double"),
        ([2**60, 1.5], "double"),
        (["x"], "string"),
        (["x", 1], "string"),
        (["x", 1.5, True], "string"),
        ([True, None], "boolean"),
        ([True, 1], "json"),
        ([{}], "json"),
        ([[]], "json"),
        ([[], [None]], "json"),
        ([[1], []], "list<bigint>"),
        ([[1, 2.5]], "list<double>"),
        ([[1, "x"]], "list<json>"),
        ([[[1]]], "list<list<bigint>>"),
        ([[{"a": 1}, {"b": "x"}]], "list<struct<a: bigint, b: string>>"),
        ([[{"a": None}]], "list<struct<a: json>>"),
        ([[{"a": 1}, 5]], "list<json>"),
        ([[{"": 1}]], "list<json>"),
        ([[{}]], "list<json>"),
        ([[1], "x"], "json"),
        ([[1], {"a": 1}], "json"),
        (["2024-01-01"], "string"),
    ],
)
def test_a_type_holds_everything_that_was_seen(values: list[Any], type_: str) -> None:
    assert types(first(*({"v": value} for value in values))) == {"v": type_}
    assert types(first(*({"v": value} for value in reversed(values)))).keys() == {"v"}


def test_null_alone_makes_no_column() -> None:
    assert first({"a": None, "b": 1}).version == 1
    assert types(first({"a": None, "b": 1})) == {"b": "bigint"}


def test_nothing_new_is_no_new_version() -> None:
    schema = first({"a": 1})
    assert evolve(schema, seen({"a": "x"}, {"a": None}), SchemaRules()) == (schema, ())


def test_objects_flatten_and_deeper_ones_stay_json() -> None:
    record = {"a": {"b": {"c": {"d": {"e": 1}}}}}
    for depth, column in {1: "a_b", 2: "a_b_c", 3: "a_b_c_d", 4: "a_b_c_d_e"}.items():
        rules = SchemaRules.model_validate({"flatten": {"depth": depth}})
        schema, _ = evolve(Schema(), seen(record, lens=Lens(depth=depth)), rules)
        assert types(schema) == {column: "bigint" if depth == 4 else "json"}


def test_arrays_may_be_kept_as_json() -> None:
    schema, _ = evolve(Schema(), seen({"a": [1]}, lens=Lens(arrays=False)), SchemaRules())
    assert types(schema) == {"a": "json"}


def test_kept_json_is_one_column_whatever_is_in_it() -> None:
    root = seen({"p": {"a": 1}}, {"p": [1]}, {"p": "x"}, lens=Lens(opaque=frozenset({("p",)})))
    assert types(evolve(Schema(), root, SchemaRules())[0]) == {"p": "json"}


def test_columns_come_in_the_order_of_the_source() -> None:
    assert list(types(first({"a": 1, "d": 1}, {"a": 1, "b": {"x": 1, "y": 1}, "c": 1, "d": 1}))) == [
        "a",
        "b_x",
        "b_y",
        "c",
        "d",
    ]


def test_evolve_adds_new_keys_after_the_known_columns_and_says_where_they_came_from() -> None:
    schema = first({"a": 1})
    grown, changes = evolve(schema, seen({"new": {"x": "t"}, "a": "x"}), SchemaRules())
    assert grown.version == 2
    assert types(grown) == {"a": "bigint", "new_x": "string"}
    assert [change.to_json() for change in changes] == [
        {"change": "added", "column": "new_x", "type": "string", "path": "new.x", "example": "raw/a.ndjson:1"}
    ]


def test_a_known_columns_type_never_changes() -> None:
    schema = first({"a": 1, "l": [1], "o": {"x": 1}})
    for other in ({"a": "x", "l": ["x"], "o": {"x": "y"}}, {"a": {"b": 1}, "l": {"z": 1}, "o": 5}, {"a": [1], "o": []}):
        grown, _ = evolve(schema, seen(other), SchemaRules())
        assert grown.columns[:3] == schema.columns


def test_rescue_leaves_a_known_schema_as_it_is() -> None:
    rules = SchemaRules(mode="rescue")
    schema = first({"a": 1}, mode="rescue")
    assert schema.version == 1
    assert evolve(schema, seen({"a": "x", "new": 1}), rules) == (schema, ())


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"a": "x"}, ["raw/a.ndjson:2", "'a'", "bigint", "string"]),
        ({"a": 1.5}, ["raw/a.ndjson:2", "'a'", "bigint", "float"]),
        ({"a": 2**70}, ["raw/a.ndjson:2", "'a'", "bigint", "huge"]),
        ({"a": {"b": 1}}, ["raw/a.ndjson:2", "'a'", "bigint", "object"]),
        ({"o": {"x": 5}}, ["raw/a.ndjson:2", "'o_x'", "string", "int"]),
        ({"o": 5}, ["raw/a.ndjson:2", "'o'", "object", "int"]),
        ({"l": ["x"]}, ["raw/a.ndjson:2", "'l'", "list<bigint>", "string"]),
        ({"s": [{"k": "x"}]}, ["raw/a.ndjson:2", "'s'", "struct<k: bigint>", "string"]),
        ({"s": [{"j": 1}]}, ["raw/a.ndjson:2", "'s'", "struct<k: bigint>", "'j'"]),
        ({"new": True}, ["raw/a.ndjson:2", "'new'", "boolean"]),
        ({"o": {"new": True}}, ["raw/a.ndjson:2", "'o.new'", "boolean"]),
    ],
)
def test_strict_names_file_line_column_and_both_types(record: dict[str, Any], says: list[str]) -> None:
    good = {"a": 1, "o": {"x": "t"}, "l": [1], "s": [{"k": 1}]}
    schema = first(good, mode="strict")
    assert schema.version == 1
    with pytest.raises(SchemaConflict) as raised:
        evolve(schema, seen(good, record), SchemaRules(mode="strict"))
    assert all(part in str(raised.value) for part in [*says, "strict"]), raised.value


def test_strict_takes_what_fits() -> None:
    schema = first({"a": 1.5, "j": {}, "o": {"x": 1}, "l": [1]}, mode="strict")
    more = seen({"a": 1, "j": [1], "o": None, "l": None, "unknown": None}, {"j": "x", "l": [], "o": {"x": None}})
    assert evolve(schema, more, SchemaRules(mode="strict")) == (schema, ())


def test_a_hint_sets_the_type_even_where_nothing_was_seen() -> None:
    hints = {"a": "string", "o.x": "double", "o2": "json", "n": "timestamp"}
    schema = first({"a": 1, "o": {"x": 1}, "o2": {"y": 1}, "n": None}, hints=hints)
    assert types(schema) == {"a": "string", "o_x": "double", "o2": "json", "n": "timestamp"}


def test_a_hint_does_not_change_a_known_column() -> None:
    schema = first({"a": 1})
    assert evolve(schema, seen({"a": 1}), SchemaRules(hints={"a": "string"})) == (schema, ())


def test_renames_are_by_source_path() -> None:
    schema = first({"DATE": 1, "o": {"DATE": 2}}, flatten={"rename": {"DATE": "date", "o.DATE": "day"}})
    assert [(column.name, column.path) for column in schema.columns] == [("date", ("DATE",)), ("day", ("o", "DATE"))]


def test_names_that_collide_are_numbered_and_stay_so() -> None:
    records = [{"a_b": 1, "a": {"b": 2}, "a.b": 3, "A_B": 4}]
    schema = first(*records)
    assert list(types(schema)) == ["a_b", "a_b_2", "a_b_3", "A_B_4"]
    grown, _ = evolve(schema, seen({"a b": 5, "A_B": 4, "a.b": 3}), SchemaRules())
    assert grown.columns[:4] == schema.columns
    assert grown.columns[4].name == "a_b_5"


def test_a_rename_onto_a_taken_name_is_numbered() -> None:
    assert list(types(first({"a": 1, "b": 2}, flatten={"rename": {"b": "A"}}))) == ["a", "A_2"]


def test_no_column_takes_a_reserved_name() -> None:
    reserved = RESERVED | {"year"}
    schema, _ = evolve(
        Schema(), seen({"_source_file": 1, "_Rescued": 2, "YEAR": 3, "year": 4}), SchemaRules(), reserved
    )
    assert list(types(schema)) == ["_source_file_2", "_Rescued_2", "YEAR_2", "year_3"]


def test_too_many_columns_names_the_widest_object() -> None:
    record = {"id": 1, "o": {"by_id": {f"k{number}": number for number in range(50)}}}
    with pytest.raises(SchemaConflict, match=r"max_columns allows \(20\).*o\.by_id.*keep_json"):
        first(record, max_columns=20)


def test_fields_inside_lists_count_as_columns() -> None:
    with pytest.raises(SchemaConflict, match=r"max_columns allows \(20\).*such as items"):
        first({"items": [{f"k{number}": number} for number in range(50)]}, max_columns=20)


def test_a_known_schema_wider_than_a_lowered_limit_still_converts() -> None:
    schema = first({f"k{number}": number for number in range(30)})
    assert evolve(schema, seen({"k1": 1}), SchemaRules(max_columns=20)) == (schema, ())


TYPES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["string", "bigint", "double", "boolean", "timestamp", "json"]),
    lambda inner: st.one_of(
        inner.map(ListOf), st.lists(st.tuples(st.text(), inner), max_size=3).map(lambda fields: StructOf(tuple(fields)))
    ),
)
COLUMNS = st.builds(Column, st.text(), st.lists(st.text(), min_size=1, max_size=3).map(tuple), TYPES)


@given(st.builds(Schema, st.integers(0, 10), st.lists(COLUMNS, max_size=4).map(tuple)))
def test_a_schema_survives_json(schema: Schema) -> None:
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


def test_no_document_is_the_schema_of_a_dataset_that_nobody_has_converted() -> None:
    assert Schema.from_json(None) == Schema(0, ())


def test_of_keys_that_differ_in_case_the_first_seen_has_the_plain_name() -> None:
    root = Node()
    lens = Lens()
    for record in ['{"id": 1, "x": 1}', '{"ID": 2, "Id": 3, "id": 4}']:
        observe(root, parse(record.encode()), "a:1", lens)
    schema, _ = evolve(Schema(), root, SchemaRules())
    names = {column.path[0]: column.name for column in schema.columns}
    assert names == {"id": "id", "x": "x", "ID": "ID_2", "Id": "Id_3"}
