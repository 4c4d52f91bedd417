"""What a raw file may unpack to, and how long a record may be: bombs are quarantined, and memory stays small."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake_pipeline.samples import write_ndjson
from lake_pipeline_tests import test_parquet_fidelity as columns
from lake_pipeline_tests.command_line import COMMAND, LakeCommand, lake_command
from lake_pipeline_tests.kernel_oracle import Converted, convert_files, convert_lines

MIB = 2**20
GOOD = b'{"id":1}\n{"id":2}\n'
DECLARED: dict[str, Any] = {
    "name": "events",
    "source": {"prefix": "raw/", "format": "ndjson", "max_unpacked_bytes": "512MiB", "max_record_bytes": "1MiB"},
    "output": {"prefix": "curated/"},
    "archive": {"action": "move", "prefix": "archive/"},
}
# `lake run` needs 310 MB by itself; with any of these files, or the long line, held it would be over 750.
MEMORY_KIB = 700 * 1024


def gz_bomb(size: int, filling: bytes = b" ") -> bytes:
    """Members of 64 MiB, one after another: 10 GiB of them are 10 MB."""
    member = gzip.compress(filling * (64 * MIB // len(filling)), 9)
    return member * (size // (64 * MIB))


def zst_bomb(size: int) -> bytes:
    return bytes(pa.compress(b" " * (64 * MIB), codec="zstd", asbytes=True)) * (size // (64 * MIB))


def outcome(converted: Converted) -> list[tuple[str, str | None]]:
    return [(file.status, file.error_class) for file in converted.results.files]


# A child's peak begins with the memory of whoever started it, and this process may hold gigabytes.
LAUNCH = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=sys.stderr)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def run_and_measure(lake: LakeCommand) -> int:
    """`lake run`, and the largest memory of a process of it in KiB."""
    command = [sys.executable, "-c", LAUNCH, *COMMAND, "run"]
    done = subprocess.run(command, env=lake.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_bombs_are_quarantined_and_neither_unpacked_nor_held(tmp_path: Path, database_url: str) -> None:
    lake = lake_command(tmp_path, database_url, DECLARED)
    raw = tmp_path / "store" / "raw"
    raw.mkdir(parents=True)
    bomb = gz_bomb(10 * 2**30)
    assert len(bomb) < 11_000_000
    (raw / "spaces.json.gz").write_bytes(bomb)
    (raw / "spaces.json.zst").write_bytes(zst_bomb(10 * 2**30))
    # A line of 448 MiB, with good ones around it.
    (raw / "line.json.gz").write_bytes(gzip.compress(GOOD) + gz_bomb(448 * MIB, b"x") + gzip.compress(b"\n" + GOOD))
    (raw / "good.json").write_bytes(GOOD)
    assert run_and_measure(lake) < MEMORY_KIB
    files = {file["s3_key"]: file for file in lake.json_lines("files", "events")}
    for name in ("spaces.json.gz", "spaces.json.zst"):
        file = files[f"raw/{name}"]
        assert file["status"] == "QUARANTINED"
        assert "source.max_unpacked_bytes, 536,870,912" in file["error_message"]
        assert (tmp_path / "store" / "quarantine" / "events" / "files" / name).exists()
    line = files["raw/line.json.gz"]
    assert (line["status"], line["rows_read"], line["rows_written"], line["rows_quarantined"]) == ("SUCCEEDED", 5, 4, 1)
    aside = {item["file"]: item for item in lake.json_lines("quarantine", "list", "events")}
    assert aside["raw/spaces.json.gz"]["error_class"] == "TooLarge"
    assert aside["raw/line.json.gz"]["line"] == 3
    assert "source.max_record_bytes, 1,048,576" in aside["raw/line.json.gz"]["reason"]
    assert lake.json_lines("query", "select count(*) n from events") == [{"n": 6}]


@pytest.mark.slow
def test_a_conversion_of_more_than_its_memory_stays_below_it(tmp_path: Path, database_url: str) -> None:
    declared = DECLARED | {
        "source": {"prefix": "raw/", "format": "json"},
        "output": {"prefix": "curated/", "partition_by": ["day(DATE)", "MODE"]},
        "schema": {"flatten": {"keep_json": ["payload"]}},
    }
    lake = lake_command(tmp_path, database_url, declared)
    lake = replace(lake, variables={**lake.variables, "LAKE_MEMORY": "1GiB"})
    (lines,) = write_ndjson(tmp_path / "store" / "raw" / "lines", total_bytes=1200 * MIB, files=1)
    (array,) = write_ndjson(tmp_path / "store" / "raw" / "array", total_bytes=500 * MIB, files=1, seed=1)
    with lines.open("rb") as text:
        records = sum(1 for _ in text)
    with array.open("rb") as text, array.with_suffix(".json").open("wb") as file:
        for number, line in enumerate(text):
            file.write((b"," if number else b"[") + line)
        file.write(b"]")
        records += number + 1
    array.unlink()
    peak = run_and_measure(lake)
    assert lake.json_lines("query", "select count(*) n from events") == [{"n": records}]
    assert peak < 1024 * 1024


def test_a_record_of_just_the_limit_arrives_and_one_of_a_byte_more_does_not(tmp_path: Path) -> None:
    def line(size: int) -> str:
        return '{"a":"' + "x" * (size - 9) + '"}'  # with its line end, `size` bytes

    sizes = [100, 101, 50, 9 * MIB, 99, 20 * MIB]
    lines = convert_lines(tmp_path, *map(line, sizes), source={"max_record_bytes": 100}, check=False)
    assert sorted(map(len, lines.values("a"))) == [50 - 9, 99 - 9, 100 - 9]
    assert [(item["line"], item["raw"]) for item in lines.quarantined] == [
        (number, line(size)[:1024]) for number, size in enumerate(sizes, 1) if size > 100
    ]
    assert (lines.only_file().rows_read, lines.only_file().rows_quarantined) == (6, 3)


def test_an_element_over_the_limit_is_quarantined_alone_and_a_document_whole(tmp_path: Path) -> None:
    long = b'{"id":3,"b":"' + b"x" * 2000 + b'"}'
    files = {"array.json": b'\n[{"id":1},\n' + long + b',\n{"id":2}]', "document.json": long}
    converted = convert_files(tmp_path, files, source={"format": "json", "max_record_bytes": 1000}, check=False)
    assert outcome(converted) == [("SUCCEEDED", None), ("QUARANTINED", "Unreadable")]
    assert sorted(converted.values("id")) == [1, 2]
    (aside,) = converted.quarantined
    assert (aside["line"], len(aside["raw"])) == (3, 1024)
    assert "source.max_record_bytes, 1,000" in str(converted.results.files[1].error_message)


def test_a_document_is_held_to_what_may_be_unpacked_and_lines_are_not(tmp_path: Path) -> None:
    array = b"[" + b",".join([b'{"id":1}'] * 200) + b"]"
    files = {"array.json": array, "pretty.json": b'{"id":\n' + b" " * 1000 + b"1}", "lines.json": GOOD * 200}
    converted = convert_files(tmp_path, files, source={"format": "json", "max_unpacked_bytes": 1000}, check=False)
    assert outcome(converted) == [("QUARANTINED", "TooLarge"), ("QUARANTINED", "TooLarge"), ("SUCCEEDED", None)]
    assert len(converted.rows) == 400


def test_a_line_that_is_spelled_like_a_record_cut_off_is_a_bad_record(tmp_path: Path) -> None:
    spelled = b"\0longer than source.max_record_bytes, 1\0{}"
    converted = convert_lines(tmp_path, '{"id":1}', spelled, b"\0\0", check=False)
    assert converted.values("id") == [1]
    assert len(converted.quarantined) == 2


def test_an_archive_inside_an_archive_is_not_unpacked(tmp_path: Path) -> None:
    files = {"a.json.gz": gzip.compress(gzip.compress(GOOD)), "b.gz.gz": gzip.compress(gzip.compress(GOOD))}
    converted = convert_files(tmp_path, files, check=False)
    assert [status for status, _ in outcome(converted)] == ["QUARANTINED"] * 2
    assert converted.rows == []


def test_exploding_is_bounded_too(tmp_path: Path) -> None:
    """A record of 1 MB whose every element brings the rest of it along would be 50 GB."""
    record = b'{"big":"' + b"x" * MIB + b'","items":[' + b",".join([b"{}"] * 50_000) + b"]}\n"
    declared: dict[str, Any] = {
        "source": {"max_unpacked_bytes": "20MiB"},
        "schema": {"flatten": {"explode": "items"}},
    }
    converted = convert_files(tmp_path, {"a.json": record, "b.json": GOOD}, check=False, **declared)
    assert outcome(converted) == [("QUARANTINED", "TooLarge"), ("SUCCEEDED", None)]
    assert "flatten.explode" in str(converted.results.files[0].error_message)


def parquet(table: pa.Table, **options: Any) -> bytes:
    written = io.BytesIO()
    pq.write_table(table, written, **options)
    return written.getvalue()


@pytest.mark.parametrize("limit", ["300KB", "2GB"])
def test_a_parquet_bomb_is_quarantined_by_what_its_footer_says_and_by_what_it_holds(tmp_path: Path, limit: str) -> None:
    """Sixty thousand rows that name one value of 256 KiB are 16 GB of text in less than 1 MB."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 60_000, pa.int32()), pa.array(["x" * 2**18]))
    bomb = parquet(pa.table({"id": range(60_000), "text": text}), store_schema=False)
    assert len(bomb) < MIB
    good = parquet(pa.table({"id": [1]}))
    before = pa.default_memory_pool().max_memory()
    done = columns.convert_files(tmp_path, bomb, good, source={"max_unpacked_bytes": limit})
    assert [(file.status, file.error_class) for file in done.results.files] == [
        ("QUARANTINED", "TooLarge"),
        ("SUCCEEDED", None),
    ]
    assert pa.default_memory_pool().max_memory() < max(before, 2**30)
