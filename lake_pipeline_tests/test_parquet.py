"""The Parquet files themselves: how many there are, how they are cut, and what their metadata says."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from lake_pipeline.kernel import layout
from lake_pipeline.kernel.layout import Layout
from lake_pipeline.schemas import Schema
from lake_pipeline_tests.kernel_oracle import Converted, convert_files, dataset, land, run

RECORD = {
    "id": 1,
    "ts": "2026-02-03T10:00:00+01:00",
    "score": 1.5,
    "on": True,
    "note": "é",
    "legs": [{"to": "x", "n": 1}],
}
HINTS = {"hints": {"ts": "timestamp"}}


def written(root: Path, rows: str, **output: Any) -> list[pq.FileMetaData]:
    """What the COPY of a dataset makes of these rows, with two threads as the kernel sets them up."""
    root.mkdir(exist_ok=True)
    declared = dataset(output={"compression": "uncompressed"} | output).output
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2; SET preserve_insertion_order = false; SET memory_limit = '2GiB'")
        connection.execute(Layout.of(Schema(), declared).copy(rows, str(root / "data"), "g.0001-a1"))
    return [pq.read_metadata(path) for path in sorted((root / "data").rglob("*.parquet"))]


def metadata(converted: Converted) -> list[tuple[str, pq.FileMetaData]]:
    return [
        (output.path, pq.read_metadata(converted.staging / "data" / output.path))
        for output in converted.results.outputs
    ]


@pytest.mark.parametrize("partitions", [1, 3, 150])
def test_there_is_one_file_a_partition_however_many_threads_and_batches(tmp_path: Path, partitions: int) -> None:
    lines = [json.dumps({"id": number, "note": "x" * 60, "p": f"p{number % partitions}"}) for number in range(150_000)]
    converted = convert_files(
        tmp_path,
        {f"{part}.ndjson": "\n".join(lines[part::5]).encode() for part in range(5)},
        check=False,
        output={"partition_by": ["p"]},
    )
    folders = Counter(str(Path(output.path).parent) for output in converted.results.outputs)
    assert folders == {f"p=p{number}": 1 for number in range(partitions)}
    assert sum(output.rows for output in converted.results.outputs) == 150_000


def test_without_partitions_there_is_one_file(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({"id": number, "note": "x" * 90}) for number in range(150_000)).encode()
    (output,) = convert_files(tmp_path, {"a.ndjson": lines, "b.ndjson": lines}, check=False).results.outputs
    assert (output.path, output.rows) == ("g.0001-a1-0.parquet", 300_000)


def test_a_partition_larger_than_a_file_should_be_is_split_near_the_stated_size(tmp_path: Path) -> None:
    written(
        tmp_path, "SELECT repeat(md5(i::VARCHAR), 2000) AS wide, 1 AS p FROM range(18_000) t(i)", partition_by=["p"]
    )
    first, *others, last = sorted(path.stat().st_size for path in (tmp_path / "data/p=1").iterdir())[::-1]
    for size in [first, *others]:
        assert layout.FILE_BYTES <= size <= layout.FILE_BYTES + 2 * layout.ROW_GROUP_BYTES
    assert first + sum(others) + last > 18_000 * 64_000


def test_row_groups_have_a_million_rows_or_128_mb(tmp_path: Path) -> None:
    (narrow,) = written(tmp_path / "narrow", "SELECT i AS id FROM range(4_000_000) t(i)")
    assert narrow.num_row_groups <= 6
    (wide,) = written(tmp_path / "wide", "SELECT repeat(md5(i::VARCHAR), 200) AS wide FROM range(50_000) t(i)")
    sizes = [wide.row_group(number).total_byte_size for number in range(wide.num_row_groups)]
    assert max(sizes) <= layout.ROW_GROUP_BYTES * 1.2
    assert len(sizes) <= 6


def test_every_column_chunk_has_statistics(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(RECORD | {"id": number}) for number in range(1000)).encode()
    converted = convert_files(tmp_path, {"a.ndjson": lines}, schema=HINTS)
    ((_, found),) = metadata(converted)
    chunks = [found.row_group(0).column(number) for number in range(found.num_columns)]
    assert {chunk.path_in_schema for chunk in chunks} >= {"id", "ts", "legs.list.element.n", "_source_file", "_rescued"}
    for chunk in chunks:
        assert chunk.is_stats_set, chunk.path_in_schema
        assert chunk.statistics.has_null_count, chunk.path_in_schema
        assert chunk.statistics.has_min_max == (chunk.path_in_schema != "_rescued"), chunk.path_in_schema
    (ids,) = [chunk.statistics for chunk in chunks if chunk.path_in_schema == "id"]
    assert (ids.min, ids.max, ids.null_count) == (0, 999, 0)


def test_timestamps_are_microseconds_in_utc_and_text_of_every_kind_is_a_string(tmp_path: Path) -> None:
    record = RECORD | {"any": [1, "a"], "kept": {"a": 1}, "legs": [{"to": "x", "more": {}}, {"to": "y", "more": [1]}]}
    schema = HINTS | {"flatten": {"keep_json": ["kept"]}}
    converted = convert_files(tmp_path, {"a.ndjson": json.dumps(record).encode()}, schema=schema)
    ((_, found),) = metadata(converted)
    leaves = {found.schema.column(number).path: found.schema.column(number) for number in range(found.num_columns)}
    stamp = json.loads(leaves["ts"].logical_type.to_json())
    assert (stamp["Type"], stamp["isAdjustedToUTC"], stamp["timeUnit"]) == ("Timestamp", True, "microseconds")
    texts = {path for path, leaf in leaves.items() if leaf.physical_type == "BYTE_ARRAY"}
    assert texts >= {"note", "any.list.element", "kept", "legs.list.element.more", "_source_file", "_rescued"}
    assert {leaves[path].logical_type.type for path in texts} == {"STRING"}
    assert {leaf.physical_type for leaf in leaves.values()} == {"INT64", "DOUBLE", "BOOLEAN", "BYTE_ARRAY"}


def test_columns_keep_their_order_from_version_to_version(tmp_path: Path) -> None:
    store, manifest = land(tmp_path / "one", {"a.ndjson": b'{"b": 1, "a": 2}\n'})
    first = run(tmp_path / "one", store, manifest, dataset())
    store, manifest = land(tmp_path / "two", {"b.ndjson": b'{"c": 3, "a": 2, "b": 1, "A": 5}\n'})
    second = run(tmp_path / "two", store, manifest, dataset(), first.results.schema)
    own = ["_source_file", "_rescued"]
    assert [found.schema.names for _, found in metadata(first)] == [["b", "a", *own]]
    assert [found.schema.names for _, found in metadata(second)] == [["b", "a", "c", "A_2", *own]]
