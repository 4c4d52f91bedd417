"""Files that real systems wrote: every record is a row, and every value is what Python's json reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lake_pipeline_tests.kernel_oracle import Converted, convert_files, read_json

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
