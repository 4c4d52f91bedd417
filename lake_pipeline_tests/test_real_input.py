"""Files that real systems wrote: every record is a row, and every value is what Python's json reads."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lake_pipeline.schemas import Column, ListOf, StructOf, Type
from lake_pipeline_tests.kernel_oracle import Converted, convert_files, read_json
from lake_pipeline_tests.lakes import lake_of, run

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "real"
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real input files are not at {REAL}")
AS_JSON = {"format": "json"}


def convert_real(root: Path, name: str, **parts: Any) -> Converted:
    return convert_files(root, {name: (REAL / name).read_bytes()}, **parts)


@pytest.mark.parametrize(
    ("name", "source", "rows"),
    [
        ("github_events.json", AS_JSON, 30),
        ("twitter.json", AS_JSON | {"records": "statuses"}, 100),
        ("earthquakes.json", AS_JSON | {"records": "features"}, 1707),
        ("apache_builds.json", AS_JSON | {"records": "jobs"}, 875),
        ("countries.json", AS_JSON, 620),
        ("students.ndjson", {"format": "ndjson"}, 200),
        ("movies.json", AS_JSON, 3201),
    ],
)
@pytest.mark.parametrize("arrays", ["keep", "json"])
def test_every_record_is_a_row_that_says_the_same(
    tmp_path: Path, name: str, source: dict[str, str], rows: int, arrays: str
) -> None:
    converted = convert_real(tmp_path, name, source=source, schema={"flatten": {"arrays": arrays}})
    assert len(converted.rows) == rows
    assert converted.quarantined == []
    assert len(converted.columns) < 400


def test_movies_mixed_column_is_text_and_its_numbers_are_rescued(tmp_path: Path) -> None:
    converted = convert_real(tmp_path, "movies.json", source=AS_JSON)
    titles = [record["Title"] for record in map(dict, read_json((REAL / "movies.json").read_bytes()))]
    numbers = sorted(str(title) for title in titles if type(title).__name__ == "Num")
    assert converted.types()["Title"] == "string"
    assert len(numbers) > 0
    assert sorted(rescued["Title"] for rescued in converted.rescued()) == numbers
    assert len([title for title in converted.values("Title") if title is not None]) == sum(
        title is not None for title in titles
    ) - len(numbers)


def test_maps_keyed_by_id_do_not_become_columns_where_they_are_kept_as_json(tmp_path: Path) -> None:
    maps = ["areaNames", "audienceSubCategoryNames", "blockNames", "events", "seatCategoryNames", "subTopicNames"]
    maps += ["subjectNames", "topicNames", "topicSubTopics"]
    converted = convert_real(tmp_path, "citm_catalog.json", source=AS_JSON, schema={"flatten": {"keep_json": maps}})
    assert len(converted.rows) == 1
    assert len(converted.columns) < 15


def test_all_of_them_in_one_manifest(tmp_path: Path) -> None:
    names = ["github_events.json", "movies.json", "countries.json", "students.ndjson"]
    converted = convert_files(tmp_path, {name: (REAL / name).read_bytes() for name in names}, source=AS_JSON)
    assert [file.status for file in converted.results.files] == ["SUCCEEDED"] * len(names)
    assert len(converted.rows) == 30 + 3201 + 620 + 200


def test_lake_run_on_all_of_them_gives_every_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    sources: dict[str, dict[str, str]] = {
        "github_events": {},
        "twitter": {"records": "statuses"},
        "earthquakes": {"records": "features"},
        "movies": {},
        "countries": {},
        "students": {"format": "ndjson"},
    }
    declarations = [
        {"name": name, "source": {"prefix": f"raw/{name}/", **more}, "output": {"prefix": f"curated/{name}/"}}
        for name, more in sources.items()
    ]
    files = {name: REAL / f"{name}.{more.get('format', 'json')}" for name, more in sources.items()}
    with lake_of(monkeypatch, tmp_path, database_url, *declarations) as lake:
        for name, file in files.items():
            lake.store.put(f"raw/{name}/{file.name}", file.read_bytes())
        run(lake)
        for name, file in files.items():
            text = file.read_text("utf-8")
            records: Any = list(map(json.loads, text.splitlines())) if name == "students" else json.loads(text)
            records = records[sources[name]["records"]] if "records" in sources[name] else records
            columns = lake.schema(name).columns
            assert lake.store.root is not None
            written = [
                row
                for output in lake.ledger.committed_outputs(name)
                for row in pq.ParquetFile(lake.store.root / output.path).read().to_pylist()
            ]
            assert Counter(_as_read(row, columns) for row in written) == Counter(
                _as_written(record, columns) for record in records
            ), name


def _as_written(record: dict[str, Any], columns: tuple[Column, ...]) -> str:
    """The record's values by column, as JSON; an absent value is null."""
    values = {}
    for column in columns:
        value: Any = record
        for key in column.path:
            value = value.get(key) if isinstance(value, dict) else None
        values[column.name] = _filled(value, column.type)
    return json.dumps(values, sort_keys=True)


def _as_read(row: dict[str, Any], columns: tuple[Column, ...]) -> str:
    """The row's values by column, from the column or from `_rescued`, as JSON."""
    rescued = json.loads(row["_rescued"] or "{}")
    values = {}
    for column in columns:
        value = _opened(row[column.name], column.type)
        assert value is None or column.name not in rescued
        values[column.name] = rescued.get(column.name) if value is None else value
    return json.dumps(values, sort_keys=True)


def _opened(value: Any, type_: Type) -> Any:
    """The value with JSON text read."""
    match type_:
        case "json":
            return None if value is None else json.loads(value)
        case ListOf(element):
            return None if value is None else [_opened(item, element) for item in value]
        case StructOf(fields):
            return None if value is None else {key: _opened(value[key], inner) for key, inner in fields}
        case _:
            return value


def _filled(value: Any, type_: Type) -> Any:
    """The value with the keys that a struct has and this object lacks, as null; integers as the column's floats."""
    match type_:
        case ListOf(element) if isinstance(value, list):
            return [_filled(item, element) for item in value]
        case StructOf(fields) if isinstance(value, dict):
            return {key: _filled(value.get(key), inner) for key, inner in fields}
        case "double" if isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        case _:
            return value
