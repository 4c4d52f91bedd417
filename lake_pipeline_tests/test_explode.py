"""`schema.flatten.explode`: a row for each element of one array, with every record and element accounted for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lake_pipeline.errors import SchemaConflict
from lake_pipeline.kernel import exact, explode
from lake_pipeline.schemas import ListOf
from lake_pipeline_tests.kernel_oracle import Converted, convert_files, dataset
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, run

LEGS = {"flatten": {"explode": "legs"}}


def exploded(root: Path, *lines: str, schema: dict[str, Any] = LEGS, **more: Any) -> Converted:
    data = "".join(f"{line}\n" for line in lines).encode()
    return convert_files(root, {"a.ndjson": data}, check=False, schema=schema, **more)


def picked(converted: Converted, *columns: str) -> list[tuple[Any, ...]]:
    return sorted((tuple(row[column] for column in columns) for row in converted.rows), key=repr)


def counts(converted: Converted) -> tuple[int, int, int, int]:
    file = converted.only_file()
    assert file.rows_read + file.rows_exploded == file.rows_written + file.rows_quarantined
    assert file.rows_written == len(converted.rows)
    return file.rows_read, file.rows_exploded, file.rows_written, file.rows_quarantined


def test_each_element_is_a_row_with_its_keys_as_columns_and_the_records_values_repeated(tmp_path: Path) -> None:
    converted = exploded(
        tmp_path,
        '{"id": 1, "legs": [{"to": "Linz", "minutes": 5}, {"to": "Graz", "minutes": 7.5}], "tags": ["a"]}',
        '{"id": 2, "legs": [{"to": "Wels"}], "tags": ["b", "c"]}',
    )
    assert picked(converted, "id", "legs_to", "legs_minutes", "tags") == [
        (1, "Graz", 7.5, ["a"]),
        (1, "Linz", 5.0, ["a"]),
        (2, "Wels", None, ["b", "c"]),
    ]
    assert counts(converted) == (2, 1, 3, 0)


def test_an_empty_null_or_absent_array_keeps_its_row(tmp_path: Path) -> None:
    converted = exploded(
        tmp_path, '{"id": 1, "legs": []}', '{"id": 2, "legs": null}', '{"id": 3}', '{"id": 4, "legs": [null, {"n": 1}]}'
    )
    assert picked(converted, "id", "legs_n") == [(1, None), (2, None), (3, None), (4, 1), (4, None)]
    assert counts(converted) == (4, 1, 5, 0)


def test_elements_that_are_no_objects_have_one_column(tmp_path: Path) -> None:
    converted = exploded(tmp_path, '{"id": 1, "legs": [3, 9007199254740993]}', '{"id": 2, "legs": 4}')
    assert picked(converted, "id", "legs") == [(1, 3), (1, 9007199254740993), (2, 4)]
    lists = exploded(tmp_path / "lists", '{"legs": [[1, 2], []]}')
    assert sorted(lists.values("legs")) == [[], [1, 2]]


def test_an_array_inside_objects_is_found_by_its_dotted_path(tmp_path: Path) -> None:
    rules = {
        "flatten": {"explode": "trip.legs", "rename": {"trip.legs.to": "stop"}},
        "hints": {"trip.legs.n": "double"},
    }
    converted = exploded(
        tmp_path, '{"trip": {"id": 7, "legs": [{"to": "x", "n": 1}, {"to": "y", "n": 2}]}}', schema=rules
    )
    assert picked(converted, "trip_id", "stop", "trip_legs_n") == [(7, "x", 1.0), (7, "y", 2.0)]


def test_a_value_of_an_element_that_does_not_fit_is_rescued_with_that_row_alone(tmp_path: Path) -> None:
    converted = exploded(
        tmp_path,
        '{"id": 1, "legs": [{"n": 1}, {"n": 1e400}, {"n": 98765432109876543210}]}',
        '{"id": 2, "legs": [{"n": 2}]}',
    )
    assert sorted(row["_rescued"] for row in converted.rows if row["_rescued"]) == [
        '{"legs_n":1e400}',
        '{"legs_n":98765432109876543210}',
    ]
    assert counts(converted) == (2, 2, 4, 0)
    assert converted.only_file().rows_rescued == 2


def test_what_is_no_array_where_one_is_exploded_is_its_own_only_element(tmp_path: Path) -> None:
    converted = exploded(tmp_path, '{"id": 1, "legs": {"n": 1}}', '{"id": 2, "legs": [{"n": 2}, "walk"]}')
    assert picked(converted, "id", "legs_n") == [(1, 1), (2, 2), (2, None)]
    assert converted.rescued() == [{"legs": "walk"}]


def test_a_bad_record_is_quarantined_once_and_a_bad_element_leaves_its_neighbours(tmp_path: Path) -> None:
    converted = exploded(
        tmp_path,
        '{"id": 1, "legs": [{"n": 1}, {"n": 2, "n": 3}]}',
        '{"id": 2, "legs": [{"n": 4},]}',
        '{"id": 3, "legs": []}',
    )
    assert picked(converted, "id", "legs_n") == [(1, 1), (3, None)]
    assert [(entry["line"], entry["reason"].split(":")[0], entry["raw"]) for entry in converted.quarantined] == [
        (1, "duplicate key 'n'", '{"id": 1, "legs": {"n": 2, "n": 3}}'),
        (2, "not JSON", '{"id": 2, "legs": [{"n": 4},]}'),
    ]
    assert counts(converted) == (3, 1, 2, 2)


def test_a_record_that_explodes_into_many_megabytes_arrives(tmp_path: Path) -> None:
    wide = "x" * 40_000
    converted = exploded(tmp_path, json.dumps({"wide": wide, "legs": [{"n": n} for n in range(500)]}))
    assert sorted(converted.values("legs_n")) == list(range(500))
    assert set(converted.values("wide")) == {wide}
    assert 500 * len(wide) > 2 * explode.BLOCK_BYTES


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "é"]), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.lists(
    st.fixed_dictionaries({"id": st.integers(0, 9)}, optional={"legs": JSON, "more": JSON}), min_size=1, max_size=6
)


@settings(max_examples=25, deadline=None)
@given(RECORDS)
def test_exploding_is_landing_a_record_for_each_element(records: list[dict[str, Any]]) -> None:
    def each(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
        elements = record.get("legs")
        for element in (elements or [None]) if isinstance(elements, list) else [elements]:
            yield record | {"legs": element} if "legs" in record else record

    single = [row for record in records for row in each(record)]
    with TemporaryDirectory() as first, TemporaryDirectory() as second:
        one = exploded(Path(first), *map(json.dumps, records))
        data = "".join(f"{json.dumps(row)}\n" for row in single).encode()
        other = convert_files(Path(second), {"a.ndjson": data})
    assert one.types() == other.types()
    assert Counter(map(repr, one.rows)) == Counter(map(repr, other.rows))
    assert counts(one) == (len(records), len(single) - len(records), len(single), 0)


def read(text: bytes) -> Any:
    try:
        return exact.dumps(exact.parse(text))
    except exact.BadRecord:
        return text


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["legs", "id", 'a"', "é\\"]), JSON | st.dictionaries(st.just("legs"), JSON), max_size=3
    ),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
    st.lists(
        st.tuples(st.integers(0, 80), st.sampled_from([b"", b",", b"}", b" ", b"\t", b"\xff", b'"legs":[1],'])),
        max_size=2,
    ),
    st.sampled_from([("legs",), ("id", "legs")]),
)
def test_cutting_a_text_at_its_elements_is_parsing_it(
    record: dict[str, Any],
    indent: int | None,
    ascii_only: bool,
    changes: list[tuple[int, bytes]],
    path: tuple[str, ...],
) -> None:
    text = json.dumps(record, indent=indent, ensure_ascii=ascii_only).encode()
    for place, change in changes:
        text = text[:place] + change + text[place + 1 :]
    cut = [read(part) for part in explode.elements(text, path)]
    assert cut == [read(part) for part in explode.slow_elements(text, path)]


def test_records_of_every_day_are_cut_and_not_parsed() -> None:
    text = '{"id": 1, "legs": [{"to": "Linz\\n", "n": 1.50}, null], "é": {"a": [1]}}'.encode()
    first, second = explode.elements(text, ("legs",))
    assert first == '{"id": 1, "legs": {"to": "Linz\\n", "n": 1.50}, "é": {"a": [1]}}'.encode()
    assert second == '{"id": 1, "legs": null, "é": {"a": [1]}}'.encode()


def test_a_column_of_whole_arrays_is_not_turned_into_exploded_rows(tmp_path: Path) -> None:
    kept = exploded(tmp_path / "first", '{"legs": [{"n": 1}]}', schema={})
    assert isinstance(kept.types()["legs"], ListOf)
    with pytest.raises(SchemaConflict, match=r"schema\.flatten\.explode: legs is list<.*a dataset of another name"):
        exploded(tmp_path / "second", '{"legs": [{"n": 1}]}', known=kept.results.schema)


@pytest.mark.parametrize(
    ("flatten", "reason"),
    [
        ({"explode": "a.b", "keep_json": ["a"]}, "explode: a.b is in a, which keep_json keeps in one column"),
        ({"explode": "a", "keep_json": ["a"]}, "explode: a is in a, which"),
        ({"explode": "a.b.c", "depth": 2}, "explode: a.b.c is deeper than depth, 2"),
        ({"explode": ""}, "at least 1 character"),
        ({"explode": ["a", "b"]}, "valid string"),
    ],
)
def test_an_array_that_cannot_be_exploded_is_refused(flatten: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        dataset(schema={"flatten": flatten})


FLATTEN = EVENTS["schema"]["flatten"] | {"explode": "legs"}
NEWEST = {"deduplicate": {"keys": ["id"], "keep": "latest", "by": "legs_n"}}


@pytest.mark.parametrize(
    ("transform", "found", "dropped"),
    [({}, [("e1", 1), ("e1", 2), ("e2", None)], 0), (NEWEST, [("e1", 2), ("e2", None)], 1)],
)
def test_lake_run_writes_a_row_for_each_element_and_the_ledger_accounts_for_them(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    database_url: str,
    transform: dict[str, Any],
    found: list[tuple[Any, ...]],
    dropped: int,
) -> None:
    declaration = EVENTS | {"schema": {"flatten": FLATTEN}, "transform": transform}
    with lake_of(monkeypatch, tmp_path, database_url, declaration) as lake:
        land(lake, "raw/2026/week07/a.json", event(1, legs=[{"n": 1}, {"n": 2}]), event(2, legs=[]), "{broken")
        assert run(lake) == 1

        assert rows(lake, "select id, legs_n from events order by all") == found
        (file,) = lake.ledger.files("events")
        assert (file.rows_read, file.rows_exploded, file.rows_quarantined) == (3, 1, 1)
        assert (file.rows_written, file.rows_dropped) == (len(found), dropped)
