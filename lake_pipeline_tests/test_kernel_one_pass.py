"""Manifests whose first records do not show all of it come out as if they had: nothing is lost, doubled or misplaced.

Each file here is larger than what is looked at before rows are written.
"""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from lake_pipeline.errors import SchemaConflict
from lake_pipeline.kernel.groups import GROUP_BYTES
from lake_pipeline.kernel.source import CHUNK_BYTES
from lake_pipeline.schemas import Column, Schema
from lake_pipeline_tests.kernel_oracle import Converted, convert_files

PAD = "x" * 2**16
AGAIN = "the first records did not show all of it"


def records(first: int, size: int = GROUP_BYTES, **more: Any) -> list[bytes]:
    count = size // len(PAD) + 2
    return [json.dumps({"id": first + n, "pad": PAD, **more}).encode() + b"\n" for n in range(count)]


def file(first: int, *last: bytes, size: int = GROUP_BYTES, **more: Any) -> bytes:
    return b"".join([*records(first, size, **more), *last])


def ids(converted: Converted) -> list[int]:
    return sorted(converted.values("id"))


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "lake_pipeline")
    return caplog


def test_records_of_one_schema_are_read_once(tmp_path: Path, told: pytest.LogCaptureFixture) -> None:
    late = b'{"pad":"other order","id":-1}\n{"id":"misfit"\n{"id":-2}\n'
    converted = convert_files(tmp_path, {"a.ndjson": file(0), "b.ndjson": file(1000, late), "c.ndjson": file(2000)})
    assert AGAIN not in told.text
    assert [result.rows_read for result in converted.results.files] == [66, 69, 66]
    assert [result.rows_quarantined for result in converted.results.files] == [0, 1, 0]


@pytest.mark.parametrize(
    ("late", "types"),
    [
        (b'{"id":-1,"new":{"deep":1.5}}\n', {"id": "bigint", "new_deep": "double"}),
        (b'{"id":-1.5}\n', {"id": "double"}),
        (b'{"id":"text"}\n', {"id": "string"}),
    ],
)
def test_a_late_record_changes_the_schema_of_all(
    late: bytes, types: dict[str, str], tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    converted = convert_files(tmp_path, {"a.ndjson": file(0), "b.ndjson": file(1000, late), "c.ndjson": file(2000)})
    assert AGAIN in told.text
    assert converted.types() == {"pad": "string"} | types
    assert len(converted.rows) == 3 * 66 + 1
    assert [change["example"] for change in converted.results.changes if change["column"] == "new_deep"] in (
        [],
        ["raw/b.ndjson:67"],
    )


def test_a_known_schema_is_not_outgrown_by_what_it_rescues(tmp_path: Path, told: pytest.LogCaptureFixture) -> None:
    known = Schema(1, (Column("id", ("id",), "bigint"), Column("pad", ("pad",), "string")))
    late = b'{"id":"text","new":1}\n'
    converted = convert_files(
        tmp_path, {"a.ndjson": file(0), "b.ndjson": file(1000, late)}, known=known, schema={"mode": "rescue"}
    )
    assert AGAIN not in told.text
    assert converted.results.schema == known
    assert [sorted(rescued) for rescued in converted.rescued()] == [["id", "new"]]


def test_rows_of_a_file_that_breaks_off_late_are_not_written(tmp_path: Path, told: pytest.LogCaptureFixture) -> None:
    whole = gzip.compress(file(1000, size=2 * CHUNK_BYTES, only_here=1), 1)
    files = {"a.ndjson": file(0), "b.ndjson.gz": whole[:-9], "c.ndjson": file(2000)}
    converted = convert_files(tmp_path, files, check=False)
    assert AGAIN in told.text
    assert [result.status for result in converted.results.files] == ["SUCCEEDED", "QUARANTINED", "SUCCEEDED"]
    assert ids(converted) == [*range(66), *range(2000, 2066)]
    assert "only_here" not in converted.types()


def test_a_broken_file_that_ends_before_its_rows_are_written_costs_no_second_pass(
    tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    bad = b"no record\n" * 3
    broken = gzip.compress(file(3000, size=2**20))[:-9]
    files = {
        "a.ndjson": file(0),
        "bad.ndjson": bad,
        "broken.ndjson.gz": broken,
        "c.ndjson": file(2000),
        "e.ndjson": b"",
    }
    converted = convert_files(tmp_path, files, check=False)
    assert AGAIN not in told.text
    assert [result.status for result in converted.results.files] == [
        "SUCCEEDED",
        "QUARANTINED",
        "QUARANTINED",
        "SUCCEEDED",
        "QUARANTINED",
    ]
    assert "none of its 3 records can be read" in str(converted.file("raw/bad.ndjson").error_message)
    assert ids(converted) == [*range(66), *range(2000, 2066)]
    assert converted.quarantined == []


def test_a_large_file_of_bad_records_is_quarantined_whole(tmp_path: Path, told: pytest.LogCaptureFixture) -> None:
    bad = b"".join(b'{"id":1,' + PAD.encode() + b"\n" for _ in range(300))
    converted = convert_files(tmp_path, {"a.ndjson": file(0), "bad.ndjson": bad, "c.ndjson": file(2000)}, check=False)
    assert AGAIN in told.text
    assert [result.status for result in converted.results.files] == ["SUCCEEDED", "QUARANTINED", "SUCCEEDED"]
    assert converted.quarantined == []
    assert len(converted.rows) == 132


def test_a_late_record_that_only_looks_like_json_is_set_aside(tmp_path: Path, told: pytest.LogCaptureFixture) -> None:
    late = b'{"id":-1 "pad":"a comma is missing"}\n'
    converted = convert_files(tmp_path, {"a.ndjson": file(0), "b.ndjson": file(1000, late)}, check=False)
    assert AGAIN in told.text
    assert [(item["file"], item["line"]) for item in converted.quarantined] == [("raw/b.ndjson", 67)]
    assert len(converted.rows) == 132


def test_a_late_difference_is_an_error_in_mode_strict(tmp_path: Path) -> None:
    known = Schema(1, (Column("id", ("id",), "bigint"), Column("pad", ("pad",), "string")))
    late = b'{"id":1,"surprise":true}\n'
    with pytest.raises(SchemaConflict, match=r"b\.ndjson.*67.*surprise|surprise.*b\.ndjson:67"):
        convert_files(
            tmp_path, {"a.ndjson": file(0), "b.ndjson": file(1000, late)}, known=known, schema={"mode": "strict"}
        )


def test_far_more_late_keys_than_columns_are_an_error(tmp_path: Path) -> None:
    late = json.dumps({f"k{number}": 1 for number in range(100)}).encode()
    with pytest.raises(SchemaConflict, match="max_columns"):
        convert_files(tmp_path, {"a.ndjson": file(0), "b.ndjson": file(1000, late)}, schema={"max_columns": 10})


def test_numbers_as_text_keep_their_spelling_in_one_pass(tmp_path: Path, told: pytest.LogCaptureFixture) -> None:
    spelled = b'{"id":1.50,"pad":"p"}\n{"id":1e2,"pad":"q"}\n'
    converted = convert_files(
        tmp_path, {"a.ndjson": file(0, spelled), "b.ndjson": file(1000, spelled)}, schema={"mode": "strings"}
    )
    assert AGAIN not in told.text
    assert sorted(converted.values("id"))[-4:] != []
    assert {"1.50", "1e2"} <= set(converted.values("id"))
