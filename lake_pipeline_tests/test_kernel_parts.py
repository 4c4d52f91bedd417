"""A manifest in parts: where files are cut, and that parts together show what one look at everything shows."""

from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lake_pipeline.dataset import Dataset
from lake_pipeline.differences import differences
from lake_pipeline.evolution import evolve
from lake_pipeline.kernel.fetching import fetch
from lake_pipeline.kernel.parts import MAX_FILES, Part, find_cuts, plan_parts
from lake_pipeline.kernel.settling import survey_of
from lake_pipeline.kernel.source import RawFile, Span, count_lines
from lake_pipeline.kernel.survey import Observation, Survey
from lake_pipeline.manifests import ManifestFile
from lake_pipeline.schemas import Column, Schema, type_name
from lake_pipeline.store import Store
from lake_pipeline_tests.kernel_oracle import dataset

KEYS = ["id", "n", "Text", "at", "tags", "inner", "last"]
VALUES: list[Any] = [
    None,
    1,
    10**16,
    2.5,
    -7,
    True,
    "x",
    "a long text " * 20,
    [],
    [1],
    [1.5, None],
    {"k": 1},
    {"k": "y"},
]
EVOLVING = dataset(output={"partition_by": ["Text"]})
KNOWN = Schema(1, (Column("id", ("id",), "double"), Column("inner_k", ("inner", "k"), "bigint")))


def listed(store: Store, name: str, data: bytes, number: int = 1) -> ManifestFile:
    stored = store.put(f"raw/{name}", data)
    return ManifestFile(number, stored.key, stored.etag, stored.size, stored.key)


def look(declared: Dataset, schema: Schema, files: list[RawFile]) -> Survey:
    survey = survey_of(declared, schema)
    assert isinstance(survey, Survey)
    with ThreadPoolExecutor(1) as pool:
        survey.look(files, pool, 1)
    return survey


def look_in_parts(declared: Dataset, schema: Schema, parts: list[RawFile]) -> Observation:
    whole, lines = survey_of(declared, schema), 0
    for part in parts:
        found = look(declared, schema, [part]).found
        found.root.move(lines)
        lines += count_lines(part)
        whole.add(found)
    whole.found.settle(split={1})
    return whole.found


def spans(store: Store, file: ManifestFile, declared: Dataset, size: int, scratch: Path) -> list[RawFile]:
    ends = [0, *find_cuts(file, declared.source, store, size), file.size]
    return [raw for start, end in pairwise(ends) for raw in fetch([file], store, scratch, Span(start, end))[0]]


records = st.fixed_dictionaries({}, optional={key: st.sampled_from(VALUES) for key in KEYS}).map(
    lambda record: {key: record[key] for key in KEYS if key in record}  # one writer has one order of keys
)
lines = st.one_of(records.map(json.dumps), st.sampled_from(["", "  ", '{"id": ', '{"id": 1, "id": 2}', "[]", "é"]))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(lines, min_size=2, max_size=30), size=st.integers(1, 400))
@pytest.mark.parametrize(
    ("declared", "known"), [(EVOLVING, Schema()), (dataset(schema={"mode": "strict"}), KNOWN)], ids=["evolve", "strict"]
)
def test_spans_of_a_file_together_show_what_the_whole_file_shows(
    declared: Dataset, known: Schema, text: list[str], size: int, tmp_path: Path
) -> None:
    store = Store(str(tmp_path))
    file = listed(store, "a.ndjson", ("\n".join(text) + "\n").encode())
    whole = look(declared, known, fetch([file], store, tmp_path)[0]).found
    whole.settle()

    parts = look_in_parts(declared, known, spans(store, file, declared, size, tmp_path))

    assert (parts.rows, parts.unreadable) == (whole.rows, whole.unreadable)
    if not whole.unreadable:
        assert parts.bad == whole.bad
        free = declared.schema_.model_copy(update={"mode": "evolve"})
        assert evolve(known, parts.root, free) == evolve(known, whole.root, free)
        assert set(differences(known, parts.root)) == set(differences(known, whole.root))


@st.composite
def cut_records(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[int]]:
    """Records of several writers, each with an order of keys of its own, and where they are cut into parts."""
    flat = st.lists(st.sampled_from("abcd"), min_size=1, unique=True).map(lambda keys: dict.fromkeys(keys, 1))
    nested = st.lists(st.sampled_from("abcd"), min_size=1, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({key: st.one_of(st.just(1), flat) for key in keys})
    )
    made = draw(st.lists(st.one_of(flat, nested), min_size=2, max_size=9))
    return made, sorted(draw(st.sets(st.integers(1, len(made) - 1), min_size=1)))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=cut_records())
@example(drawn=([{"a": 1}, {"b": 1, "c": 1}, {"a": 1}, {"b": 1, "a": 1}], [1]))
def test_any_records_in_any_parts_give_the_same_columns_in_the_same_order(
    drawn: tuple[list[dict[str, Any]], list[int]], tmp_path: Path
) -> None:
    store, (made, cuts) = Store(str(tmp_path)), drawn
    texts = [json.dumps(record) for record in made]
    pieces = [texts[start:end] for start, end in pairwise([0, *cuts, len(texts)])]
    one = listed(store, "all.ndjson", "\n".join(texts).encode())
    several = [listed(store, f"{n}.ndjson", "\n".join(piece).encode(), n) for n, piece in enumerate(pieces)]

    whole = look(EVOLVING, Schema(), fetch([one], store, tmp_path)[0]).found
    one_by_one = look(EVOLVING, Schema(), fetch(several, store, tmp_path)[0]).found  # known shapes are passed over
    merged = Observation()
    for file in several:
        merged.add(look(EVOLVING, Schema(), fetch([file], store, tmp_path)[0]).found)

    assert columns(merged) == columns(one_by_one) == columns(whole)


def columns(found: Observation) -> list[tuple[str, str]]:
    return [
        (column.name, type_name(column.type)) for column in evolve(Schema(), found.root, EVOLVING.schema_)[0].columns
    ]


def test_a_long_integer_is_no_double_wherever_a_strict_dataset_meets_it(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    file = listed(store, "a.ndjson", b'{"id": 1}\n' * 70 + b'{"id": 9007199254740993}\n')
    found = look(dataset(schema={"mode": "strict"}), KNOWN, fetch([file], store, tmp_path)[0]).found
    assert [(item.kind, item.example) for item in differences(KNOWN, found.root)] == [("long", "raw/a.ndjson:71")]


def test_cuts_are_line_ends_and_spans_hold_every_byte_once(tmp_path: Path) -> None:
    store, declared = Store(str(tmp_path)), dataset()
    text = b"".join(b'{"id": "%s"}\n' % (b"x" * (number % 97)) for number in range(2000))
    file = listed(store, "a.ndjson", text)

    cuts = find_cuts(file, declared.source, store, 10_000)

    assert len(cuts) > 5
    assert all(text[cut - 1 : cut] == b"\n" for cut in cuts)
    assert all(9_900 < end - start < 10_200 for start, end in pairwise([0, *cuts]))
    parts = spans(store, file, declared, 10_000, tmp_path)
    assert sum(count_lines(part) for part in parts) == 2000


def test_a_record_longer_than_several_parts_is_one_span(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    long = b'{"id": "' + b"y" * 200_000 + b'"}\n'
    file = listed(store, "a.ndjson", b'{"id": 1}\n' + long + b'{"id": 2}\n')
    assert find_cuts(file, dataset().source, store, 1000) == [10 + len(long)]


@pytest.mark.parametrize(
    ("name", "data", "format_"),
    [
        ("a.ndjson.gz", gzip.compress(b'{"id": 1}\n' * 5000, compresslevel=0), "ndjson"),
        ("array.json", b"[" + b'{"id": 1},\n' * 5000 + b'{"id": 2}]', "json"),
        ("document.json", b'{\n "id": [' + b"1,\n" * 5000 + b"2]}", "json"),
        ("utf16.ndjson", ('{"id": 1}\n' * 5000).encode("utf-16"), "ndjson"),
        ("blank.ndjson", b"\n" * 50_000, "ndjson"),
        ("one-line.ndjson", b'{"id": "' + b"z" * 50_000 + b'"}', "ndjson"),
        ("small.ndjson", b'{"id": 1}\n', "ndjson"),
    ],
)
def test_files_that_are_not_many_lines_of_utf_8_stay_whole(
    name: str, data: bytes, format_: str, tmp_path: Path
) -> None:
    store = Store(str(tmp_path))
    assert find_cuts(listed(store, name, data), dataset(source={"format": format_}).source, store, 1000) == []


def test_lines_in_a_file_that_is_called_json_are_cut_too(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    file = listed(store, "a.json", b"\xef\xbb\xbf" + b'{"id": 1}\n' * 500)
    assert len(find_cuts(file, dataset(source={"format": "json"}).source, store, 1000)) == 4


def test_parts_keep_the_manifests_order_and_their_size() -> None:
    files = [ManifestFile(number, f"{number}", "", size, "") for number, size in enumerate([5, 4, 30, 2, 2, 50, 1])]

    parts = plan_parts(files, 10, {2: [10, 21]})

    assert parts == [
        Part((files[0], files[1])),
        Part((files[2],), Span(0, 10)),
        Part((files[2],), Span(10, 21)),
        Part((files[2],), Span(21, 30)),
        Part((files[3], files[4])),
        Part((files[5],)),
        Part((files[6],)),
    ]
    tiny = [replace(files[0], id=number, size=0) for number in range(2 * MAX_FILES + 1)]
    assert [len(part.files) for part in plan_parts(tiny, 10, {})] == [MAX_FILES, MAX_FILES, 1]
