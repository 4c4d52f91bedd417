"""Declared transforms, each by its rows and counts: what is read, filled, standardised, added, dropped."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import ReferenceInvalid, SchemaConflict
from lake_pipeline.kernel import exact, shape
from lake_pipeline.kernel.convert import Job, convert
from lake_pipeline.kernel.instants import PATTERN, is_instant
from lake_pipeline.kernel.layout import Layout
from lake_pipeline.kernel.results import Results
from lake_pipeline.manifests import Manifest, ManifestFile
from lake_pipeline.output import Output
from lake_pipeline.schemas import Schema
from lake_pipeline.store import Store
from lake_pipeline_tests.kernel_oracle import read_rows

Row = dict[str, Any]
AREAS = {
    "type": "FeatureCollection",
    "features": [
        {
            "properties": {"district": "west", "code": "W"},
            "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1.1, 1], [0, 1], [0, 0]]]},
        },
        {
            "properties": {"district": "east", "code": "E"},
            "geometry": {
                "type": "MultiPolygon",
                "coordinates": [
                    [
                        [[1, 0], [2, 0], [2, 1], [1.1, 1], [1, 0]],
                        [[1.4, 0.4], [1.4, 0.6], [1.6, 0.6], [1.6, 0.4], [1.4, 0.4]],  # a lake
                    ],
                    [[[5, 5], [6, 5], [6, 6], [5, 6]]],  # an exclave, whose ring is not closed
                ],
            },
        },
    ],
}
PLACES = {"reference": "areas", "match": {"lat": "lat", "lon": "lon"}, "add": ["district"]}


class Bench:
    """Conversions in one store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(str(root / "store"))
        self.manifests = 0

    def convert(
        self, files: dict[str, list[Row | str]], known: Schema | None = None, threads: int = 2, **parts: Any
    ) -> tuple[Results, list[Row]]:
        """The results, and the rows that were staged."""
        listed = []
        for number, (name, records) in enumerate(files.items(), 1):
            lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
            stored = self.store.put(f"raw/{name}", "\n".join(lines).encode() + b"\n")
            listed.append(ManifestFile(number, stored.key, stored.etag, stored.size, stored.key))
        declaration = {
            "name": "things",
            "source": {"prefix": "raw/", "format": "ndjson"},
            "output": {"prefix": "curated/"},
            **parts,
        }
        self.manifests += 1
        manifest = Manifest("things", f"g.{self.manifests:04}", "g", tuple(listed))
        staging = self.root / manifest.manifest_id
        dataset = Dataset.model_validate(json.loads(Dataset.model_validate(declaration).model_dump_json(by_alias=True)))
        job = Job(dataset, manifest, known or Schema(), 1, staging, self.root / "scratch", threads, "1GiB")
        results = convert(job, self.store)
        for file in results.files:
            assert file.rows_read == file.rows_written + file.rows_quarantined + file.rows_dropped
        assert Results.from_json(json.loads(json.dumps(results.to_json()))) == results
        rows = [row for output in results.outputs for row in read_rows(staging / "data", output.path, results.schema)]
        return results, rows


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def column(rows: list[Row], name: str, by: str = "id") -> list[Any]:
    return [row[name] for row in sorted(rows, key=lambda row: row[by])]


# ---- utc

INSTANT = datetime(2026, 2, 3, 9, 11, 12, tzinfo=UTC)
NOTATIONS: list[Any] = [
    "2026-02-03T09:11:12Z",
    "2026-02-03 09:11:12",
    "2026-02-03T10:11:12.000000+01:00",
    1770109872,
    1770109872.0,
    1770109872000,
    "1770109872",
    "1770109872000",
    "Tue, 03 Feb 2026 10:11:12 +0100",
    "3 Feb 2026 09:11:12 GMT",
    "Tue Feb 03 09:11:12 +0000 2026",
]


@pytest.mark.parametrize("first", range(len(NOTATIONS)))
def test_every_notation_is_the_same_instant_whichever_comes_first(bench: Bench, first: int) -> None:
    values = NOTATIONS[first:] + NOTATIONS[:first]
    results, rows = bench.convert({"a": [{"t": value} for value in values]}, transform={"utc": ["t"]})
    assert [row["t"] for row in rows] == [INSTANT] * len(values)
    assert results.files[0].rows_rescued == 0
    assert [(column.name, column.type) for column in results.schema.columns] == [("t", "timestamp")]


def test_utc_is_a_timestamp_in_microseconds_and_utc_in_the_file(bench: Bench) -> None:
    results, _ = bench.convert({"a": [{"t": "1770109872.123456"}]}, transform={"utc": ["t"]})
    table = pq.read_table(bench.root / "g.0001/data" / results.outputs[0].path)
    assert str(table.schema.field("t").type) == "timestamp[us, tz=UTC]"
    assert table["t"].to_pylist() == [INSTANT.replace(microsecond=123456)]


@pytest.mark.parametrize(
    "value",
    [
        *("2026-02-03", "yesterday", "", "Tue, 31 Feb 2026 10:11:12 +0100", "Thu Feb 29 10:11:12 +0000 2026"),
        *("Tue, 03 Feb 2026 10:11:12", "Tue, 03 Feb 26 10:11:12 +0100", "03/02/2026 10:11", "Tue Feb 03 10:11:12 2026"),
        *("Tue, 03 Feb 2026 24:11:12 +0000", "Tue, 03 Feb 2026 10:11:12 CET", "Mardi 03 Feb 2026 10:11:12 +0000"),
        *(12345, 17701098720, 1770109872000000, -1770109872, 1.5, 1770109872.1234567, 8000000000.5, 1e400),
        *(True, "01770109872", " 1770109872", "0x6982", [1770109872], {"t": 1}, "Fri, 31 Dec 9999 10:00:00 -1400"),
    ],
    ids=repr,
)
def test_what_is_in_no_notation_is_rescued_as_it_was_and_its_row_stays(bench: Bench, value: Any) -> None:
    text = "1e400" if value == float("inf") else json.dumps(value, separators=(",", ":"))
    lines: list[Row | str] = [{"t": "2026-02-03T09:11:12Z"}, f'{{"t":{text}}}']
    results, rows = bench.convert({"a": lines}, transform={"utc": ["t"]})
    assert sorted((row["t"] for row in rows), key=str) == [INSTANT, None]
    assert [row["_rescued"] for row in rows if row["_rescued"]] == [f'{{"t":{text}}}']
    assert results.files[0].rows_rescued == 1


ZONES = st.integers(-14 * 60 + 1, 14 * 60 - 1).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 29), timezones=ZONES)  # noqa: DTZ001
EPOCHS = st.datetimes(datetime(1973, 3, 4), datetime(2223, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def written(moment: datetime) -> Iterator[tuple[Any, datetime]]:
    """A moment in notations with a zone, each with what Python reads from it."""
    whole = moment.replace(microsecond=0)
    yield moment.isoformat(), datetime.fromisoformat(moment.isoformat())
    yield moment.isoformat(" "), moment
    yield format_datetime(whole), parsedate_to_datetime(format_datetime(whole))
    twitter = whole.strftime("%a %b %d %H:%M:%S %z ") + f"{whole.year:04}"
    yield twitter, datetime.strptime(twitter, "%a %b %d %H:%M:%S %z %Y")


def epochs(moment: datetime) -> Iterator[tuple[Any, datetime]]:
    start = datetime(1970, 1, 1, tzinfo=UTC)
    seconds = (moment - start) // timedelta(seconds=1)
    milliseconds = (moment - start) // timedelta(milliseconds=1)
    for value in (seconds, str(seconds)):
        yield value, start + timedelta(seconds=seconds)
    for value in (milliseconds, str(milliseconds)):
        yield value, start + timedelta(milliseconds=milliseconds)
    fraction = f"{seconds}.{moment.microsecond:06}"
    for text in (float(fraction), fraction):
        yield text, moment


@settings(deadline=None, max_examples=25)
@given(st.lists(MOMENTS, max_size=5), st.lists(EPOCHS, max_size=5), st.randoms(use_true_random=False))
def test_every_notation_reads_as_python_reads_it(
    moments: list[datetime], instants: list[datetime], rng: random.Random
) -> None:
    values = [pair for moment in moments for pair in written(moment)] + [p for i in instants for p in epochs(i)]
    rng.shuffle(values)
    with tempfile.TemporaryDirectory() as folder:
        records: list[Row | str] = [{"id": number, "t": value} for number, (value, _) in enumerate(values)]
        _, rows = Bench(Path(folder)).convert({"a": records or [{"id": 0}]}, transform={"utc": ["t"]})
    if values:
        assert [value.astimezone(UTC) for value in column(rows, "t")] == [expected for _, expected in values]


TEXTS = [json.dumps(value) for value in NOTATIONS] + ['"29 Feb 2024 10:11 UT"', "1770109872.123456"]


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(TEXTS), st.lists(st.tuples(st.integers(0, 40), st.sampled_from(' 0123456789.,:+-TZ"aJF'))))
def test_the_fast_path_takes_no_time_that_the_exact_one_does_not(text: str, changes: list[tuple[int, str]]) -> None:
    for place, letter in changes[:3]:
        text = text[:place] + letter + text[place + 1 :]
    if pc.match_substring_regex(pa.array([text]), f"^(?:{PATTERN})$")[0].as_py():
        assert is_instant(exact.parse(f'{{"t":{text}}}'.encode())["t"]), text


def test_the_fast_path_takes_every_notation() -> None:
    pattern = f"^(?:{PATTERN}|{shape._TIMESTAMP})$"
    slow = [text for text in TEXTS if not pc.match_substring_regex(pa.array([text]), pattern)[0].as_py()]
    assert slow == ['"29 Feb 2024 10:11 UT"'], "only a day that not every year has is left to the exact path"


# ---- fill_nulls, standardise


def test_null_absent_and_rescued_values_are_filled_with_a_value_of_the_columns_type(bench: Bench) -> None:
    fill = {"mode": "unknown", "likes": 0, "score": 0.5, "seen": False, "t": "Tue, 03 Feb 2026 10:11:12 +0100"}
    full = {"id": 1, "mode": "bike", "likes": 3, "score": 1.5, "seen": True, "t": 0}
    results, rows = bench.convert(
        {"a": [full, {"id": 2, "mode": None}, {"id": 3, "likes": "many"}]},
        transform={"fill_nulls": fill, "utc": ["t"]},
        schema={"hints": {"likes": "bigint"}},
    )
    assert column(rows, "mode") == ["bike", "unknown", "unknown"]
    assert column(rows, "likes") == [3, 0, 0]
    assert column(rows, "score") == [1.5, 0.5, 0.5]
    assert column(rows, "seen") == [True, False, False]
    assert column(rows, "t") == [INSTANT] * 3
    assert [json.loads(text) if text else None for text in column(rows, "_rescued")] == [
        {"t": 0},
        None,
        {"likes": "many"},
    ]
    assert results.files[0].rows_written == 3


@pytest.mark.parametrize(
    ("value", "fill"),
    [(1, "x"), (1, 1.5), (1, True), (1, 2**63), ("x", 1), (True, 1), ([1], "x"), (1.5, "1.5"), ({"a": 1}, "x")],
)
def test_a_fill_of_another_type_is_an_error_that_names_both(bench: Bench, value: Any, fill: Any) -> None:
    schema = {"flatten": {"keep_json": ["c"]}} if isinstance(value, dict) else {}
    with pytest.raises(SchemaConflict, match=r"transform\.fill_nulls: c is .*, which .* is not"):
        bench.convert({"a": [{"c": value}]}, transform={"fill_nulls": {"c": fill}}, schema=schema)


def test_a_fill_is_text_and_never_sql(bench: Bench) -> None:
    text = "'); DROP TABLE x; --"
    _, rows = bench.convert({"a": [{"a\"b'": "x"}, {}]}, transform={"fill_nulls": {"a_b_": text}})
    assert sorted(row["a_b_"] for row in rows) == [text, "x"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("title", "San Francisco Saint-Étienne-Du-Rouvray"),
        ("upper", "SAN  FRANCISCO SAINT-ÉTIENNE-DU-ROUVRAY"),
        ("lower", "san  francisco saint-étienne-du-rouvray"),
        ("trim", "sAN  frANCISCO sAINT-éTIENNE-du-ROUVRAY"),
    ],
)
def test_text_is_standardised_and_null_stays_null(bench: Bench, form: str, expected: str) -> None:
    raw = " \tsAN  frANCISCO sAINT-éTIENNE-du-ROUVRAY\n"
    _, rows = bench.convert(
        {"a": [{"id": 1, "p": raw}, {"id": 2, "p": None}, {"id": 3, "p": " "}]}, transform={"standardise": {"p": form}}
    )
    assert column(rows, "p") == [expected, None, ""]


def test_only_text_can_be_standardised(bench: Bench) -> None:
    with pytest.raises(SchemaConflict, match=r"transform\.standardise: p is bigint"):
        bench.convert({"a": [{"p": 1}]}, transform={"standardise": {"p": "upper"}})


def test_a_standardised_column_names_its_folder(bench: Bench) -> None:
    results, rows = bench.convert(
        {"a": [{"p": "wIEN"}, {"p": "WIEN "}, {"p": None}]},
        transform={"standardise": {"p": "title"}, "fill_nulls": {"p": "nowhere"}},
        output={"prefix": "curated/", "partition_by": ["p"]},
    )
    assert {output.path.split("/")[0] for output in results.outputs} == {"p=Wien", "p=Nowhere"}
    assert sorted(row["p"] for row in rows) == ["Nowhere", "Wien", "Wien"]


@pytest.mark.parametrize("transform", [{}, {"fill_nulls": {"p": "x"}}, {"standardise": {"P": "trim"}}], ids=str)
def test_folders_are_spelled_as_the_partition_says_with_rules_or_without(
    bench: Bench, transform: dict[str, Any]
) -> None:
    results, _ = bench.convert(
        {"a": [{"p": "wien"}]}, transform=transform, output={"prefix": "curated/", "partition_by": ["P"]}
    )
    assert [output.path.split("/")[0] for output in results.outputs] == ["P=wien"]


def test_a_text_of_white_space_alone_names_no_folder_once_it_is_trimmed(bench: Bench) -> None:
    rules: dict[str, Any] = {
        "transform": {"standardise": {"city": "title"}},
        "output": {"prefix": "curated/", "partition_by": ["city"]},
    }
    results, _ = bench.convert({"a.ndjson": [{"city": "Linz"}, {"city": "  "}]}, **rules)
    assert sorted(Path(output.path).parent.as_posix() for output in results.outputs) == [
        "city=Linz",
        "city=__HIVE_DEFAULT_PARTITION__",
    ]


def test_a_folders_name_does_not_grow_too_long_in_the_other_case(bench: Bench) -> None:
    long = "ɐ" * 32  # each has two bytes, and three in upper case
    _, rows = bench.convert(
        {"a": [{"id": 1, "p": long}, {"id": 2, "p": "ab"}]},
        transform={"standardise": {"p": "upper"}},
        output={"prefix": "curated/", "partition_by": ["p"]},
    )
    assert column(rows, "p") == [long, "AB"]


# ---- enrich


def enriched(bench: Bench, *places: tuple[Any, Any], **rule: Any) -> list[Any]:
    bench.store.put("references/areas.geojson", json.dumps(AREAS).encode())
    records: list[Row | str] = [{"id": n, "lon": lon, "lat": lat} for n, (lon, lat) in enumerate(places)]
    _, rows = bench.convert({"a": records}, transform={"enrich": [PLACES | rule]})
    return column(rows, "district")


def test_a_row_gets_the_district_it_lies_in_and_null_outside_or_without_coordinates(bench: Bench) -> None:
    places = [(0.5, 0.5), (1.5, 0.1), (1.5, 0.5), (5.5, 5.5), (3, 3), (-0.1, 0.5), (None, 0.5), (0.5, None)]
    expected = ["west", "east", None, "east", None, None, None, None]
    assert enriched(bench, *places) == expected


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(0, 10**6 - 1).map(lambda n: n / 10**6), min_size=1, max_size=30))
def test_a_place_on_a_border_lies_in_one_of_its_districts(heights: list[float]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = enriched(Bench(Path(folder)), *((1 + y * 0.1, y) for y in [*heights, 0.5]))
    assert set(found) <= {"west", "east"}


def test_the_added_column_is_part_of_the_schema_and_a_source_key_of_its_name_gets_another(bench: Bench) -> None:
    bench.store.put("references/areas.geojson", json.dumps(AREAS).encode())
    record = {"id": 1, "lat": 0.5, "lon": 0.5, "district": "said"}
    rule = PLACES | {"add": ["district", "code"]}
    results, rows = bench.convert(
        {"a": [record]}, transform={"enrich": [rule]}, output={"prefix": "curated/", "partition_by": ["code"]}
    )
    names = ["id", "lat", "lon", "district_2", "district", "code"]
    assert [column.name for column in results.schema.columns] == names
    assert (rows[0]["district"], rows[0]["district_2"], rows[0]["code"]) == ("west", "said", "W")
    assert [output.path.split("/")[0] for output in results.outputs] == ["code=W"]
    again, _ = bench.convert({"b": [record]}, known=results.schema, transform={"enrich": [rule]})
    assert again.schema == results.schema


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("not json", "JSONDecodeError"),
        ("[]", "TypeError"),
        ('{"type":"Feature"}', "no FeatureCollection"),
        ('{"type":"FeatureCollection","features":[{"properties":{}}]}', "district"),
        (json.dumps(AREAS).replace('"west"', "7"), "short text, not 7"),
        (json.dumps(AREAS).replace('"Polygon"', '"Point"'), "Point is no area"),
        (json.dumps(AREAS).replace("1.4", "NaN"), "no position"),
    ],
)
def test_a_reference_that_cannot_be_used_is_an_error_that_says_why(bench: Bench, document: str, reason: str) -> None:
    bench.store.put("references/areas.geojson", document.encode())
    with pytest.raises(ReferenceInvalid, match=reason):
        bench.convert({"a": [{"lat": 1, "lon": 1}]}, transform={"enrich": [PLACES]})


def test_a_reference_that_is_nowhere_is_an_error_that_says_where_it_was_looked_for(bench: Bench) -> None:
    with pytest.raises(ReferenceInvalid, match=r"references/areas\.geojson is not in the store"):
        bench.convert({"a": [{"lat": 1, "lon": 1}]}, transform={"enrich": [PLACES]})


def test_coordinates_that_are_no_numbers_are_an_error(bench: Bench) -> None:
    bench.store.put("references/areas.geojson", json.dumps(AREAS).encode())
    with pytest.raises(SchemaConflict, match="lat is string"):
        bench.convert({"a": [{"lat": "1", "lon": 1}]}, transform={"enrich": [PLACES]})


# ---- drop_nulls, deduplicate

LATEST = {"keys": ["id"], "keep": "latest", "by": "t"}


def test_rows_without_what_they_must_have_are_dropped_and_counted_by_file(bench: Bench) -> None:
    results, rows = bench.convert(
        {"a": [{"id": 1, "x": 1}, {"id": None, "x": 1}, {"x": 1}], "b": [{"id": 2}, "nonsense", {"id": 3, "x": 2}]},
        transform={"drop_nulls": ["id", "x"]},
    )
    assert sorted(row["id"] for row in rows) == [1, 3]
    assert [(file.rows_read, file.rows_written, file.rows_quarantined, file.dropped) for file in results.files] == [
        (3, 1, 0, {"drop_nulls": 2}),
        (3, 1, 1, {"drop_nulls": 1}),
    ]
    assert results.dropped == {"drop_nulls": 3}


def test_what_is_filled_is_not_dropped(bench: Bench) -> None:
    _, rows = bench.convert({"a": [{"id": 1}, {}]}, transform={"drop_nulls": ["id"], "fill_nulls": {"id": 0}})
    assert sorted(row["id"] for row in rows) == [0, 1]


def test_a_drop_rule_on_a_column_that_never_was_is_an_error_and_drops_nothing(bench: Bench) -> None:
    with pytest.raises(SchemaConflict, match="no record has ever had a column idd"):
        bench.convert({"a": [{"id": 1}]}, transform={"drop_nulls": ["idd"]})


@pytest.mark.parametrize(("keep", "expected"), [("latest", {1: "new", 2: "only"}), ("first", {1: "old", 2: "only"})])
def test_of_rows_with_one_key_the_declared_one_stays_whatever_file_it_is_in(
    bench: Bench, keep: str, expected: dict[int, str]
) -> None:
    results, rows = bench.convert(
        {
            "a": [{"id": 1, "t": 2, "v": "mid"}, {"id": 1, "t": 3, "v": "new"}, {"id": 1, "v": "undated"}],
            "b": [{"id": 1, "t": 1, "v": "old"}, {"id": 2, "v": "only"}],
        },
        transform={"deduplicate": LATEST | {"keep": keep}},
    )
    assert {row["id"]: row["v"] for row in rows} == expected
    assert len(rows) == 2
    assert results.dropped == {"deduplicate": 3}
    assert sum(file.rows_dropped for file in results.files) == 3


def test_a_row_without_its_whole_key_is_no_duplicate(bench: Bench) -> None:
    records: list[Row | str] = [{"id": 1, "k": None}, {"id": 1, "k": None}, {"id": 1, "k": 2}, {"id": 1, "k": 2}]
    _, rows = bench.convert({"a": records}, transform={"deduplicate": LATEST | {"keys": ["id", "k"], "by": "k"}})
    assert sorted((row["k"] for row in rows), key=str) == [2, None, None]


def test_a_key_that_no_record_has_drops_nothing(bench: Bench) -> None:
    _, rows = bench.convert({"a": [{"x": 1}, {"x": 1}]}, transform={"deduplicate": LATEST})
    assert len(rows) == 2


def test_a_row_dropped_for_its_nulls_wins_over_none(bench: Bench) -> None:
    results, rows = bench.convert(
        {"a": [{"id": 1, "t": 1, "x": 1}, {"id": 1, "t": 2}]},
        transform={"drop_nulls": ["x"], "deduplicate": LATEST},
    )
    assert [row["t"] for row in rows] == [1]
    assert results.dropped == {"drop_nulls": 1}


@pytest.mark.parametrize("keep", ["latest", "first"])
def test_ties_go_by_file_and_place_however_the_work_is_spread(bench: Bench, keep: str) -> None:
    files: dict[str, list[Row | str]] = {
        name: [{"id": n % 50, "t": 1, "v": f"{name}{n}", "odd": "x" if n % 7 else n} for n in range(2000)]
        for name in "cab"
    }
    outcomes = []
    for threads in (1, 4):
        results, rows = bench.convert(files, threads=threads, transform={"deduplicate": LATEST | {"keep": keep}})
        outcomes.append((column(rows, "v"), [file.rows_dropped for file in results.files]))
    assert outcomes[0] == outcomes[1]
    winners = [f"c{1950 + n}" for n in range(50)] if keep == "latest" else [f"a{n}" for n in range(50)]
    assert outcomes[0][0] == winners


RECORDS = st.fixed_dictionaries(
    {}, optional={"id": st.integers(0, 5) | st.none(), "t": st.integers(0, 3) | st.none(), "x": st.just("y")}
)


@settings(deadline=None, max_examples=30)
@given(
    st.dictionaries(st.sampled_from("abc"), st.lists(RECORDS | st.just("nonsense"), min_size=1, max_size=8), min_size=1)
)
def test_whatever_comes_is_written_quarantined_or_dropped_and_the_right_rows_stay(files: dict[str, list[Any]]) -> None:
    seed: list[Row | str] = [{"id": 9, "t": 9, "x": "y"}]
    with tempfile.TemporaryDirectory() as folder:
        results, rows = Bench(Path(folder)).convert(
            {"seed": seed, **files}, transform={"drop_nulls": ["x"], "deduplicate": LATEST}
        )
    readable = {f"raw/{name}": records for name, records in files.items() if set(map(str, records)) != {"nonsense"}}
    whole = [record for records in readable.values() for record in records if record != "nonsense" and "x" in record]
    keyed = [record for record in whole if record.get("id") is not None]
    best: dict[int, int] = {9: 9}
    for record in keyed:
        t = record.get("t")
        best[record["id"]] = max(best.get(record["id"], -1), -1 if t is None else t)
    expected = len(best) + len(whole) - len(keyed)
    assert len(rows) == expected
    assert {row["id"]: -1 if row["t"] is None else row["t"] for row in rows if row["id"] is not None} == best
    by_key = {file.key: file for file in results.files}
    for key, records in readable.items():
        assert by_key[key].rows_read == len(records)
        assert by_key[key].rows_quarantined == records.count("nonsense")


# ---- the declaration


@pytest.mark.parametrize(
    "transform",
    [
        {"deduplicate": {"keys": [], "by": "t"}},
        {"deduplicate": {"keys": ["id"]}},
        {"standardise": {"p": "shout"}},
        {"enrich": [PLACES | {"add": []}]},
        {"enrich": [PLACES | {"reference": "../secret"}]},
        {"enrich": [PLACES, PLACES]},
        {"fill_nulls": {"p": None}},
        {"fill_nulls": {"p": float("nan")}},
        {"fill_nulls": {"p": 1, "P": 2}},
        {"enrich": [PLACES], "fill_nulls": {"District": "x"}},
        {"unknown": []},
    ],
    ids=str,
)
def test_a_transform_that_means_nothing_is_refused(transform: dict[str, Any]) -> None:
    declaration = {"name": "x", "source": {"prefix": "a/"}, "output": {"prefix": "b/"}, "transform": transform}
    with pytest.raises(ValidationError):
        Dataset.model_validate(declaration)


def test_utc_on_a_column_that_is_text_already_is_an_error(bench: Bench) -> None:
    results, _ = bench.convert({"a": [{"t": "x"}]})
    with pytest.raises(SchemaConflict, match=r"transform\.utc: t is string already"):
        bench.convert({"b": [{"t": "x"}]}, known=results.schema, transform={"utc": ["t"]})


def test_a_strict_schema_takes_every_notation_of_a_utc_column(bench: Bench) -> None:
    rules: dict[str, Any] = {"transform": {"utc": ["t"]}, "schema": {"mode": "strict"}}
    results, _ = bench.convert({"a": [{"t": NOTATIONS[0]}]}, **rules)
    again, rows = bench.convert({"b": [{"t": value} for value in NOTATIONS]}, known=results.schema, **rules)
    assert [row["t"] for row in rows] == [INSTANT] * len(NOTATIONS)
    assert again.schema == results.schema


@pytest.mark.parametrize("backwards", [False, True])
def test_rules_apply_in_one_order_whatever_their_order_in_the_file(bench: Bench, backwards: bool) -> None:
    rules: dict[str, Any] = {
        "utc": ["at"],
        "fill_nulls": {"city": "  linz ", "at": "2026-02-03T00:00:00Z"},
        "standardise": {"city": "title"},
        "drop_nulls": ["city", "at"],
        "deduplicate": {"keys": ["city"], "keep": "latest", "by": "at"},
    }
    files: dict[str, list[Row | str]] = {
        "a.ndjson": [{"id": 1, "city": "LINZ", "at": 1770109872}, {"id": 2, "at": "someday"}, {"id": 3, "city": "graz"}]
    }
    transform = dict(reversed(rules.items())) if backwards else rules
    results, rows = bench.convert(files, transform=transform)
    # The text filled in is put into its form before rows are compared, and no row lacks what was filled in.
    assert sorted((row["id"], row["city"]) for row in rows) == [(1, "Linz"), (3, "Graz")]
    assert results.dropped == {"deduplicate": 1}


def test_a_dataset_without_transforms_keeps_the_query_it_had(bench: Bench) -> None:
    results, _ = bench.convert({"a": [{"id": 1}]})
    assert Layout.of(results.schema, Output(prefix="x/", partition_by=["id"])).select("records") == (
        'SELECT * FROM (SELECT r."id" AS "id", file AS _source_file, rescued AS _rescued FROM '
        '(SELECT json_transform(text, \'{"id": "BIGINT"}\') AS r, file, rescued FROM records))'
    )
