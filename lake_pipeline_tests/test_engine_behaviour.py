"""What every engine must do alike, on every store: one lake for each pair, and the same rows in all of them.

The parts are so small that each large file is cut many times, and that what belongs together lies in different parts.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import uuid
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake_pipeline.aws_local.resources import make_bucket, make_job
from lake_pipeline.aws_local.server import environment
from lake_pipeline.catalog.contract import catalog_of
from lake_pipeline.definitions import defs
from lake_pipeline.defs.instance import open_instance
from lake_pipeline.engines.environment import spark_environment
from lake_pipeline.lake import Lake
from lake_pipeline.settings import load_settings
from lake_pipeline_tests.conftest import fresh_database
from lake_pipeline_tests.glue import glue_of
from lake_pipeline_tests.lakes import lake_of, land, run, stored

PART = "8KiB"
RECORDS = 900
TRIPS: dict[str, Any] = {
    "name": "trips",
    "source": {"prefix": "trips/", "format": "json", "group": "{year}/{week}/"},
    "schema": {"flatten": {"rename": {"DATE": "date", "MODE": "mode"}}},
    "output": {"prefix": "curated/trips/", "partition_by": ["month(date)", "mode"]},
    "checks": {"required": ["id"], "unique": ["id"], "row_count": {"min": 1}},
    "archive": {"action": "move", "prefix": "archive/trips/"},
}
POSTS: dict[str, Any] = {
    "name": "posts",
    "source": {"prefix": "posts/", "format": "ndjson"},
    "schema": {"hints": {"at": "timestamp"}},
    "transform": {
        "drop_nulls": ["id"],
        "standardise": {"city": "title"},
        "deduplicate": {"keys": ["id"], "keep": "latest", "by": "at"},
    },
    "output": {"prefix": "curated/posts/"},
    "checks": {"unique": ["id"]},
}

FARES: dict[str, Any] = {
    "name": "fares",
    "source": {"prefix": "fares/", "format": "parquet"},
    "output": {"prefix": "curated/fares/", "partition_by": ["vendor"]},
}
SLIPS: dict[str, Any] = {
    "name": "slips",
    "source": {"prefix": "slips/", "format": "parquet"},
    "output": {"prefix": "curated/slips/", "format": "json", "files": "one_to_one"},
}


@dataclass(frozen=True)
class Pair:
    """An engine, as the variables that choose it, and whether the store is in S3."""

    engine: dict[str, str]
    s3: bool = False


def spark(master: str) -> dict[str, str]:
    return {"LAKE_ENGINE": "spark", "LAKE_SPARK_MASTER": master, "LAKE_SPARK_PART": PART}


LOCAL, SPARK, CLUSTER = {"LAKE_ENGINE": "local"}, spark("local[2]"), spark("local-cluster[2,1,1024]")
GLUE = {"LAKE_ENGINE": "glue", "LAKE_GLUE_POLL_SECONDS": "0.2", "LAKE_GLUE_SPARK": "false"}
GLUE_SPARK = GLUE | {"LAKE_GLUE_SPARK": "true", "LAKE_SPARK_PART": PART}
PAIRS = [
    pytest.param(Pair(LOCAL), id="local-directory"),
    pytest.param(Pair(LOCAL, s3=True), id="local-s3", marks=pytest.mark.slow),
    pytest.param(Pair(SPARK), id="spark-local-directory"),
    pytest.param(Pair(SPARK, s3=True), id="spark-local-s3", marks=pytest.mark.slow),
    pytest.param(Pair(CLUSTER), id="spark-cluster-directory", marks=pytest.mark.slow),
    pytest.param(Pair(CLUSTER, s3=True), id="spark-cluster-s3", marks=pytest.mark.slow),
    pytest.param(Pair(GLUE, s3=True), id="glue-s3", marks=pytest.mark.slow),
    pytest.param(Pair(GLUE_SPARK, s3=True), id="glue-spark-s3", marks=pytest.mark.slow),
]


@dataclass(frozen=True)
class Seen:
    """All that a user can see of a lake: rows, files, versions of the schema, quarantined records, outputs, checks."""

    trips: list[dict[str, Any]]
    posts: list[dict[str, Any]]
    fares: list[dict[str, Any]]
    slips: dict[str, bytes]
    files: dict[str, tuple[Any, ...]]
    versions: list[tuple[Any, ...]]
    quarantined: list[dict[str, Any]]
    outputs: list[tuple[str, int]]
    offending: int
    left: list[str]


def table(lake: Lake, name: str) -> list[dict[str, Any]]:
    """Every row, in an order of its values."""
    answer = catalog_of(lake.settings).query(lake.settings, f"select * from {name} order by all")
    return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]


def seen_in(lake: Lake) -> Seen:
    files = [file for name in lake.datasets for file in lake.ledger.files(name)]
    with open_instance(lake.settings) as instance:
        check = dg.AssetCheckKey(dg.AssetKey(["trips", "curated"]), "unique")
        history = instance.event_log_storage.get_asset_check_execution_history(check, limit=10)
    evaluations = [record.event.asset_check_evaluation for record in history if record.event]
    return Seen(
        trips=table(lake, "trips"),
        posts=table(lake, "posts"),
        fares=table(lake, "fares"),
        slips={key: lake.store.get(key) for key in stored(lake, "curated/slips/")},
        files={
            file.s3_key: (
                file.status,
                file.rows_read,
                file.rows_written,
                file.rows_rescued,
                file.rows_quarantined,
                file.rows_dropped,
                file.error_message,
            )
            for file in files
        },
        versions=[
            (name, version.version, version.columns, version.changes)
            for name in lake.datasets
            for version in lake.ledger.schema_history(name)
        ],
        quarantined=[
            json.loads(line)
            for key in stored(lake, "quarantine/trips/records/")
            for line in lake.store.get(key).splitlines()
        ],
        outputs=[(item.path, item.rows) for name in lake.datasets for item in lake.ledger.committed_outputs(name)],
        offending=max(int(str(found.metadata["offending rows"].value)) for found in evaluations if found),
        left=stored(lake, "_staging/") + stored(lake, "trips/"),
    )


def trip(number: int, **more: Any) -> dict[str, Any]:
    mode = ("bike", "car", "foot")[number % 3]
    day, month = number % 28 + 1, number % 2 + 1
    return {"id": f"t{number}", "DATE": f"2026-{month:02d}-{day:02d}", "MODE": mode, "km": number} | more


def fill(lake: Lake) -> None:
    """What lands first: large and small files, good and bad, that show a column's type late, or in another part."""
    large: list[dict[str, Any] | str] = [
        trip(number, user={"name": f"ü{number}", "tags": ["a"]}) for number in range(600)
    ]
    large[100] = '{"id": "broken", '
    large[310:310] = ["", "   ", ""]
    large[-1] = trip(599, km=0.5, late={"seq": 1})  # until here, km was an integer
    land(lake, "trips/2026/week07/large.json", *large)
    land(lake, "trips/2026/week07/small.json", trip(600), trip(601, km=-0.0))
    lake.store.put("trips/2026/week07/array.json", json.dumps([trip(number) for number in range(602, 700)]).encode())
    lake.store.put("trips/2026/week07/lines.json.gz", gzip.compress(lines(range(700, RECORDS)), mtime=0))
    land(lake, "trips/2026/week07/again.json", trip(5))  # the id is in large.json too
    lake.store.put("trips/2026/week07/cut.json.gz", gzip.compress(lines(range(5000)), mtime=0)[:-30])
    lake.store.put("trips/2026/week07/empty.json", b"")
    lake.store.put("trips/2026/week07/picture.json", b"\x89PNG\r\n\x1a\n\x00\x00")
    lake.store.put("trips/2026/week07/hopeless.json", b'{"id": 1, "id": 2}\n' * 2000)
    post(lake, "posts/a.ndjson", range(400), hour=1)
    post(lake, "posts/b.ndjson", range(200, 500), hour=2)
    for prefix in ("fares/", "slips/"):
        lake.store.put(f"{prefix}1.parquet", parquet(vendor=["a", "b"] * 1000, fare=list(range(2000))))
        lake.store.put(f"{prefix}2.parquet", parquet(vendor=["a"] * 100, fare=[0.5] * 100, tip=[None] * 99 + [2**60]))
        lake.store.put(f"{prefix}cut.parquet", parquet(vendor=["a"] * 100)[:-20])
    land(lake, "posts/c.ndjson", {"id": None, "at": "2026-02-01T00:00:00Z"}, {"at": "2026-02-01T00:00:00Z"})


def add(lake: Lake) -> None:
    """What lands a week later: new columns, and values that do not fit."""
    numbers = range(RECORDS, RECORDS + 300)
    more: dict[int, dict[str, Any]] = {990: {"weather": "rain"}, 1100: {"km": "far"}, 1150: {"late": {"seq": "one"}}}
    land(lake, "trips/2026/week08/next.json", *(trip(number, **more.get(number, {})) for number in numbers))


def parquet(**columns: list[Any]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def lines(numbers: range) -> bytes:
    return b"".join(json.dumps(trip(number)).encode() + b"\n" for number in numbers)


def post(lake: Lake, key: str, numbers: range, hour: int) -> None:
    records: list[dict[str, Any]] = [
        {"id": number, "at": f"2026-02-01T{hour:02d}:{number % 60:02d}:00Z", "city": " new YORK"} for number in numbers
    ]
    random.Random(7).shuffle(records)
    land(lake, key, *records)


def lake_seen(pair: Pair, request: pytest.FixtureRequest) -> Seen:
    """Run the whole lake on a pair, a week after the other."""
    home = request.getfixturevalue("tmp_path_factory").mktemp("lake")
    database = contextmanager(fresh_database)(*map(request.getfixturevalue, ("postgres_url", "template_database")))
    with pytest.MonkeyPatch.context() as patch, database as url, ExitStack() as stack:
        variables, store = dict(pair.engine), ""
        if pair.engine["LAKE_ENGINE"] == "glue":
            glue = stack.enter_context(glue_of(patch))
            variables |= {"LAKE_GLUE_JOB": make_job(glue.name, glue.bucket), **spark_environment(load_settings())}
        elif pair.s3:
            variables |= environment(request.getfixturevalue("aws_url"))
        for name, value in variables.items():
            patch.setenv(name, value)
        if pair.s3:
            store = f"{make_bucket(f'lake-{uuid.uuid4().hex[:12]}')}/some/prefix"
        with lake_of(patch, home, url, TRIPS, POSTS, FARES, SLIPS, store=store) as lake:
            fill(lake)
            assert run(lake) == 4
            add(lake)
            assert run(lake) == 1
            return seen_in(lake)


@pytest.fixture(scope="module", params=PAIRS)
def seen(request: pytest.FixtureRequest) -> Seen:
    """What a pair made of the lake."""
    return lake_seen(request.param, request)


@pytest.fixture(scope="module")
def reference(request: pytest.FixtureRequest) -> Seen:
    """What the local engine makes of it in a directory."""
    return lake_seen(Pair(LOCAL), request)


def test_everything_that_a_user_sees_is_what_the_local_engine_makes(seen: Seen, reference: Seen) -> None:
    assert seen.trips == reference.trips
    assert seen.posts == reference.posts
    assert seen.fares == reference.fares
    assert seen.slips == reference.slips
    assert seen.files == reference.files
    assert seen.versions == reference.versions
    assert seen.quarantined == reference.quarantined
    assert seen.outputs == reference.outputs
    assert seen.offending == reference.offending


def test_every_record_is_a_row_once_and_says_which_file_it_came_from(seen: Seen) -> None:
    sources = Counter((row["id"], row["_source_file"]) for row in seen.trips)
    expected = Counter(
        [(f"t{number}", "trips/2026/week07/large.json") for number in range(600) if number != 100]
        + [(f"t{number}", "trips/2026/week07/small.json") for number in (600, 601)]
        + [(f"t{number}", "trips/2026/week07/array.json") for number in range(602, 700)]
        + [(f"t{number}", "trips/2026/week07/lines.json.gz") for number in range(700, RECORDS)]
        + [("t5", "trips/2026/week07/again.json")]
        + [(f"t{number}", "trips/2026/week08/next.json") for number in range(RECORDS, RECORDS + 300)]
    )
    assert sources == expected


def test_a_type_that_shows_in_the_last_part_holds_for_the_first(seen: Seen) -> None:
    values = {row["id"]: row["km"] for row in seen.trips if row["_source_file"].endswith("large.json")}
    assert (values["t1"], values["t599"]) == (1.0, 0.5)
    assert {type(value) for value in values.values()} == {float}


def test_the_schema_has_two_versions_and_examples_name_lines_of_the_whole_file(seen: Seen) -> None:
    versions = [(version, changes) for name, version, _, changes in seen.versions if name == "trips"]
    assert [version for version, _ in versions] == [1, 2]
    examples = {change["column"]: change["example"] for _, changes in versions for change in changes}
    assert examples["late_seq"] == "trips/2026/week07/large.json:603"
    assert examples["weather"] == "trips/2026/week08/next.json:91"


def test_values_that_do_not_fit_are_rescued_with_their_rows(seen: Seen) -> None:
    rescued = {row["id"]: row["_rescued"] for row in seen.trips if row["_rescued"] is not None}
    assert rescued == {"t1100": '{"km":"far"}', "t1150": '{"late_seq":"one"}'}


def test_a_bad_record_is_set_aside_with_its_line_in_the_whole_file(seen: Seen) -> None:
    assert [(record["file"], record["line"], record["raw"]) for record in seen.quarantined] == [
        ("trips/2026/week07/large.json", 101, '{"id": "broken", ')
    ]


def test_unreadable_files_are_quarantined_whole_however_they_were_cut(seen: Seen) -> None:
    reasons = {key: outcome[-1] for key, outcome in seen.files.items() if outcome[0] == "QUARANTINED"}
    assert reasons.keys() == {"fares/cut.parquet", "slips/cut.parquet"} | {
        f"trips/2026/week07/{name}.json{suffix}"
        for name, suffix in [("cut", ".gz"), ("empty", ""), ("picture", ""), ("hopeless", "")]
    }
    assert reasons["trips/2026/week07/empty.json"] == "the file is empty"
    assert reasons["trips/2026/week07/hopeless.json"].startswith("none of its 2,000 records can be read")
    assert {outcome[0] for key, outcome in seen.files.items() if key not in reasons} == {"SUCCEEDED"}


def test_equal_rows_of_any_parts_are_deduplicated_and_counted(seen: Seen) -> None:
    assert [(row["id"], row["at"].hour) for row in seen.posts] == [
        (number, 1 if number < 200 else 2) for number in range(500)
    ]
    assert {row["city"] for row in seen.posts} == {"New York"}
    assert {key: outcome[1:6] for key, outcome in seen.files.items() if key.startswith("posts/")} == {
        # rows read, written, rescued, quarantined, dropped
        "posts/a.ndjson": (400, 200, 0, 0, 200),
        "posts/b.ndjson": (300, 300, 0, 0, 0),
        "posts/c.ndjson": (2, 0, 0, 0, 2),
    }


def test_parquet_files_are_read_whole_and_share_their_columns(seen: Seen) -> None:
    assert len(seen.fares) == 2100
    assert {row["fare"] for row in seen.fares if row["_source_file"] == "fares/2.parquet"} == {0.5}
    assert max(row["tip"] or 0 for row in seen.fares) == 2**60
    assert seen.files["fares/cut.parquet"][0] == "QUARANTINED"


def test_one_file_becomes_one_file_of_json_lines(seen: Seen) -> None:
    assert sorted(seen.slips) == ["curated/slips/1.json", "curated/slips/2.json"]
    first, last = (json.loads(seen.slips[key].splitlines()[-1]) for key in sorted(seen.slips))
    assert (first["vendor"], first["fare"], last["tip"]) == ("b", 1999, 2**60)


def test_checks_look_at_all_rows_of_a_manifest_together(seen: Seen) -> None:
    assert seen.offending == 2  # t5, in two files


def test_each_hive_partition_of_a_manifest_is_one_file(seen: Seen) -> None:
    folders = Counter(path.rpartition("/")[0] for path, _ in seen.outputs if "week07" in path)
    assert len(folders) == 6
    assert set(folders.values()) == {1}


def test_nothing_stays_in_staging_or_where_files_landed(seen: Seen) -> None:
    assert seen.left == []


def test_the_asset_says_which_engine_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKE_ENGINE", "spark")
    graph = defs().resolve_asset_graph()
    assert graph.get(dg.AssetKey(["events", "curated"])).kinds == {"duckdb", "parquet", "spark"}
