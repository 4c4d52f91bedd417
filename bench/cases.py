"""What is converted: raw files of one kind each, made by a seeded generator."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from lake_pipeline.samples import write_ndjson

GB = 1_000_000_000
_SMALL_FILE_BYTES = 50_000
# Columns that every flattening peer writes with one name and one type.
_EVENT = "id, date, user_id, user_name, user_geo_lat, user_geo_lon, distance, note, active"
WIDE_COLUMNS = 400
_BROKEN = b'{"id":1,"DATE":\n'


@dataclass(frozen=True)
class Case:
    """One kind of raw files. `bytes` are what `--size 1GB` makes of it, before compression.

    `make` writes them to a folder; `peers` are those that can do it with the same output; `values` are the scalar
    columns in which outputs are compared.
    """

    name: str
    about: str
    bytes: int
    make: Callable[[Path, int], list[Path]]
    peers: tuple[str, ...]
    values: str = _EVENT


def _files(folder: Path, size: int) -> list[Path]:
    return write_ndjson(folder, total_bytes=size, files=40)


def _small(folder: Path, size: int) -> list[Path]:
    return write_ndjson(folder, total_bytes=size, files=max(size // _SMALL_FILE_BYTES, 1))


def _one(folder: Path, size: int) -> list[Path]:
    return write_ndjson(folder, total_bytes=size, files=1)


def _rewritten(suffix: str, anew: Callable[[bytes], bytes], folder: Path, size: int) -> list[Path]:
    made = []
    for path in _files(folder, size):
        made.append(path.with_suffix(suffix))
        made[-1].write_bytes(anew(path.read_bytes()))
        path.unlink()
    return made


def _zipped(text: bytes) -> bytes:
    return gzip.compress(text, 6, mtime=0)


def _array(text: bytes) -> bytes:
    return b"[" + text.rstrip(b"\n").replace(b"\n", b",\n") + b"]"


def _wide(folder: Path, size: int) -> list[Path]:
    rng = random.Random("wide")
    pool = [_wide_tail(rng) for _ in range(2**9)]
    ids = count(1)
    folder.mkdir(parents=True)
    paths = [folder / f"part-{number:04}.ndjson" for number in range(40)]
    for path in paths:
        with path.open("wb", buffering=2**20) as file:
            left = size // len(paths)
            while left > 0:
                left -= file.write(b'{"id":%d,%b' % (next(ids), rng.choice(pool)))
    return paths


def _wide_tail(rng: random.Random) -> bytes:
    """A record of `WIDE_COLUMNS` columns without its id: a fourth each of integers, floats, texts and booleans."""
    record: dict[str, object] = {"DATE": f"2026-02-{rng.randrange(9, 23):02}", "MODE": rng.choice(("bus", "car"))}
    for number in range(WIDE_COLUMNS - 3):
        makers: tuple[Callable[[], object], ...] = (
            lambda: rng.randrange(10**6),
            lambda: round(rng.uniform(0.5, 99), 3),
            lambda: f"text {rng.randrange(1000)}",
            lambda: rng.random() < 0.5,
        )
        record[f"c{number:03}"] = makers[number % 4]()
    return json.dumps(record, separators=(",", ":")).encode()[1:] + b"\n"


def _dirty(folder: Path, size: int) -> list[Path]:
    """Events of which one in twenty has a value of another type, and one line in a thousand is broken."""
    rng = random.Random("dirty")
    paths = _files(folder, size)
    for path in paths:
        path.write_bytes(b"".join(_spoilt(rng, path.read_bytes().splitlines(keepends=True))))
    return paths


def _spoilt(rng: random.Random, lines: list[bytes]) -> Iterator[bytes]:
    for line in lines:
        drawn = rng.random()
        if drawn < 0.001:
            yield _BROKEN
        elif drawn < 0.051:
            start = line.index(b'"distance":') + len(b'"distance":')
            yield line[:start] + b'"about two miles"' + line[line.index(b",", start) :]
        else:
            yield line


_ALL = ("lake", "kernel", "duckdb", "naive_spark", "spark", "spark_schema", "polars", "dlt")
_NO_POLARS = tuple(name for name in _ALL if name not in ("polars", "spark_schema"))
CASES = {
    case.name: case
    for case in (
        Case("files", "nested NDJSON in 40 files", GB, _files, _ALL),
        Case("small", "nested NDJSON in files of 50 KB", GB, _small, _ALL),
        # polars takes 10 GB of memory for each of the four.
        Case("one", "one NDJSON file", 4 * GB, _one, tuple(name for name in _ALL if name != "polars")),
        Case("gz", "NDJSON in 40 gzip files", GB // 2, partial(_rewritten, ".ndjson.gz", _zipped), _NO_POLARS),
        Case("arrays", "JSON arrays in 40 files", GB // 2, partial(_rewritten, ".json", _array), _NO_POLARS[:-1]),
        Case(
            "wide",
            f"flat NDJSON of {WIDE_COLUMNS} columns",
            GB,
            _wide,
            tuple(name for name in _ALL if name != "spark_schema"),
            "id, date, c000, c001, c002, c003, c396",
        ),
        # Of the others none reads on after a broken line with the rest of the values as they were.
        Case(
            "dirty",
            "5 % of the records with a value of another type, 0.1 % broken lines",
            GB,
            _dirty,
            ("lake", "kernel", "duckdb", "naive_spark", "spark"),
        ),
    )
}


def records_of(case: Case, raw: list[Path]) -> int:
    """How many records there are that can be read."""
    if case.name == "gz":
        return sum(gzip.decompress(path.read_bytes()).count(b"\n") for path in raw)
    if case.name == "arrays":
        return sum(path.read_bytes().count(b"\n") + 1 for path in raw)
    return sum((text := path.read_bytes()).count(b"\n") - text.count(_BROKEN) for path in raw)
