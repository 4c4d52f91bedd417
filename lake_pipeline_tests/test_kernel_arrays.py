"""Arrays that are taken apart as they come in have the elements and the lines that the whole has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lake_pipeline.kernel import arrays
from lake_pipeline.kernel.source import CHUNK_BYTES
from lake_pipeline_tests.kernel_oracle import convert_files

PAD = "x" * 2**15
TRICKY: list[Any] = [
    {},
    {"a": "},{"},
    {"a": [{"b": 1}, {"b": 2}]},
    {"a": '"},\n{"'},
    {"a": "\\"},
    [{"a": 1}, {"a": 2}],
    7,
    None,
    "},{",
]


def decode(text: bytes) -> list[msgspec.Raw]:
    found: list[msgspec.Raw] = msgspec.json.decode(text, type=list[msgspec.Raw])
    return found


def array(records: list[Any], separator: str) -> bytes:
    return ("[" + separator.join(map(json.dumps, records)) + "]").encode()


@settings(deadline=None, max_examples=300)
@example([{}, {}, {}, {}], ",", [3])
@given(
    st.lists(st.sampled_from(TRICKY), min_size=1, max_size=30),
    st.sampled_from([",", ", ", ",\n", " ,\n  ", "\n,\n"]),
    st.lists(st.integers(0, 29), max_size=3),
)
def test_evenly_spaced_elements_are_those_elements_and_others_are_told(
    records: list[Any], separator: str, odd: list[int]
) -> None:
    texts = [json.dumps(record).encode() for record in records]
    between = [separator.encode() if n not in odd else b",  \n" for n in range(1, len(texts))]
    text = b"[\n" + texts[0] + b"".join(gap + item for gap, item in zip(between, texts[1:], strict=True)) + b"]"
    spaced = arrays.evenly_spaced(text, decode(text), 2**20)
    if len(set(between)) <= 1:
        assert spaced is not None
    if spaced:
        assert [item.as_py().rstrip("\n").encode() for item in spaced[0]] == texts
        starts = [2 + sum(map(len, texts[:n])) + sum(map(len, between[:n])) for n in range(len(texts))]
        assert list(spaced[1]) == starts
        assert arrays.evenly_spaced(text, decode(text), max(map(len, texts)) - 1) is None


@pytest.mark.parametrize("spaces", [1, 2, 8, 9])
def test_white_space_before_the_last_element_alone_is_none_of_it(spaces: int, tmp_path: Path) -> None:
    text = f'[{{"id":1}},{{"id":2}},{" " * spaces}{{"id":3}}]'
    converted = convert_files(tmp_path, {"a.json": text.encode()}, source={"format": "json"})
    assert converted.values("id") == [1, 2, 3]
    assert not converted.quarantined


@pytest.mark.parametrize("separator", [",", ", ", ",\n", " ,\n\t"])
def test_an_array_in_parts_has_the_elements_of_the_whole(separator: str) -> None:
    records = [{"id": n, "pad": PAD, "more": TRICKY[n % len(TRICKY)]} for n in range(700)]
    text = array(records, separator)
    chunks = (text[start : start + CHUNK_BYTES] for start in range(0, len(text), CHUNK_BYTES))
    found = list(arrays.parts(chunks, decode, 2**31))
    assert len(found) > 2
    assert [json.loads(bytes(item)) for _, elements in found for item in elements] == records
    assert sum(part.count(b"\n") for part, _ in found) == text.count(b"\n")


def test_a_large_array_comes_out_whole_with_its_lines(tmp_path: Path) -> None:
    records = [json.dumps({"id": n, "pad": PAD}) for n in range(600)]
    records[590:590] = ['"no record"']
    text = ("[\n" + ",\n".join(records) + "\n]\n").encode()
    assert len(text) > 2 * CHUNK_BYTES
    converted = convert_files(tmp_path, {"a.json": text}, source={"format": "json"})
    assert sorted(converted.values("id")) == list(range(600))
    assert [(item["line"], item["raw"]) for item in converted.quarantined] == [(592, '"no record"')]


@pytest.mark.parametrize("end", [b"", b",", b",]", b"]]", b"] {}", b',{"id":'])
def test_a_large_array_that_does_not_end_as_one_is_quarantined_whole(end: bytes, tmp_path: Path) -> None:
    text = array([{"id": n, "pad": PAD} for n in range(600)], ",")[:-1] + end
    small = b'[{"id":-1,"pad":"p"}]'
    converted = convert_files(tmp_path, {"a.json": small, "b.json": text}, source={"format": "json"}, check=False)
    assert [file.status for file in converted.results.files] == ["SUCCEEDED", "QUARANTINED"]
    assert converted.values("id") == [-1]


def test_a_comma_after_the_last_part_is_no_array(tmp_path: Path) -> None:
    """The text is cut just there: what is left is only the bracket."""
    record = json.dumps({"pad": "x" * (CHUNK_BYTES // 2)}).encode()
    text = b"[" + b",".join([record] * 4) + b",  ]"
    converted = convert_files(tmp_path, {"b.json": text}, source={"format": "json"}, check=False)
    assert [file.status for file in converted.results.files] == ["QUARANTINED"]
