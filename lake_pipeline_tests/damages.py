"""A lake with a bit of everything, and ways to damage it, each with what an audit must find of that."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from lake_pipeline.audit.audit import audit
from lake_pipeline.audit.listings import Listing, StoreListing
from lake_pipeline.audit.scope import Scope
from lake_pipeline.discovery.listing import discover
from lake_pipeline.lake import Lake
from lake_pipeline_tests import passes
from lake_pipeline_tests.lakes import EVENTS, event, land
from lake_pipeline_tests.ledgers import make_live

TRIPS: dict[str, Any] = {
    "name": "trips",
    "source": {"prefix": "raw-trips/", "format": "parquet", "group": "{year}/"},
    "output": {"prefix": "trips/", "format": "json", "files": "one_to_one"},
}
FLAT = EVENTS | {"output": {"prefix": "curated/"}}
Found = set[tuple[str, str]]

WEEK1 = "2026-week01.0001"
# Of its files some cannot be had any more, so that its rows cannot be made again.
WEEK10 = "2026-week10.0001"
# Two files each, with a line that is no record in the first of the last two.
WEEKS = (*range(2, 10), 11)
BAD_LINES = (8, 9)


def fill(lake: Lake) -> None:
    """Land files of every kind and convert them; at the end a file that waits, and one that waits and will be gone."""
    for number, name in enumerate("abef"):
        land(lake, f"raw/2026/week01/{name}.json", event(number), event(number + 100))
    for number, name in enumerate("cd", 10):
        land(lake, f"raw/2026/week10/{name}.json", event(number), event(number + 100))
    land(lake, "raw/2026/week01/broken.json", "\x89PNG")
    for week in WEEKS:
        lines = ["ERROR 503"] if week in BAD_LINES else []
        land(lake, f"raw/2026/week{week:02d}/a.json", event(week), event(week + 100), *lines)
        land(lake, f"raw/2026/week{week:02d}/b.json", event(week + 200), event(week + 300))
    for year in (2024, 2025, 2026):
        lake.store.put(f"raw-trips/{year}/x.parquet", parquet(id=[1, 2, 3], fare=[1.5, 2.5, None]))
    convert(lake)
    # A version that takes the place of another.
    land(lake, "raw/2026/week01/f.json", event(3), event(103, note="again"))
    convert(lake)
    for name in ("waits", "gone"):
        land(lake, f"raw/2026/week01/{name}.json", event(900))
    land(lake, "raw/2026/week20/held.json", event(901))
    for dataset in lake.datasets.values():
        discover(dataset, lake.store, lake.ledger)


def convert(lake: Lake) -> None:
    """Convert what is due in every dataset."""
    for dataset in lake.datasets:
        passes.convert(lake, dataset)


def found(lake: Lake, *, listing: Listing | None = None, quick: bool = False) -> Found:
    """What an audit of every dataset finds: class and subject."""
    return {
        (difference.kind, difference.subject)
        for dataset in lake.datasets.values()
        for difference in audit(
            Scope(lake, dataset, listing or StoreListing(lake.store), quick=quick, settle_seconds=0.01)
        )
    }


def parquet(**columns: list[Any]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def sql(lake: Lake, statement: str, *values: object) -> None:
    """Alter the ledger behind its back."""
    with psycopg.connect(lake.settings.database_url or "") as connection:
        connection.execute(statement.encode(), values)


def output(lake: Lake, week: int) -> str:
    """The curated file of a week."""
    (path,) = (item.path for item in lake.ledger.committed_outputs("events") if f"/2026-week{week:02d}" in item.path)
    return path


def replace(lake: Lake, key: str, data: bytes) -> None:
    """Other bytes under a key: a new object, for the old one may be shared with another lake."""
    lake.store.delete([key])
    lake.store.put(key, data)


def rewrite(lake: Lake, week: int, change: Callable[[pa.Table], pa.Table]) -> str:
    """Other rows in a week's curated file, of which only the ledger's bytes tell nothing; its path."""
    path = output(lake, week)
    file = io.BytesIO()
    pq.write_table(change(pq.read_table(io.BytesIO(lake.store.get(path)), partitioning=None)), file)
    replace(lake, path, file.getvalue())
    sql(lake, "UPDATE lake.outputs SET bytes = %s WHERE path = %s", len(file.getvalue()), path)
    return path


def unregistered(lake: Lake) -> Found:
    land(lake, "raw/2026/week01/ä new 'file'.json", event(1000))
    return {("unregistered", "raw/2026/week01/ä new 'file'.json")}


def changed(lake: Lake) -> Found:
    replace(lake, "raw/2026/week01/waits.json", b'{"id": "e902"}\n')
    return {("changed", "raw/2026/week01/waits.json")}


def landed_once_more(lake: Lake) -> Found:
    key = "raw/2026/week01/e.json"
    lake.store.put(key, lake.store.get("archive/2026/week01/e.json"))
    # In a directory it is another version, for its ETag tells when it was written.
    return {("not_archived" if lake.store.root is None else "changed", key)}


def missing(lake: Lake) -> Found:
    lake.store.delete(["raw/2026/week01/gone.json"])
    return {("missing", "raw/2026/week01/gone.json")}


def not_archived(lake: Lake) -> Found:
    lake.store.move("archive/2026/week01/a.json", "raw/2026/week01/a.json")
    make_live(lake.ledger, "events")
    sql(lake, "UPDATE lake.live_files SET archived_key = NULL WHERE s3_key = 'raw/2026/week01/a.json'")
    return {("not_archived", "raw/2026/week01/a.json")}


def archive_unrecorded(lake: Lake) -> Found:
    make_live(lake.ledger, "events")
    sql(lake, "UPDATE lake.live_files SET archived_key = NULL WHERE s3_key = 'raw/2026/week01/b.json'")
    return {("archive_unrecorded", "raw/2026/week01/b.json")}


def archive_missing(lake: Lake) -> Found:
    lake.store.delete(["archive/2026/week10/c.json", "raw-trips/2024/x.parquet"])
    return {("archive_missing", "raw/2026/week10/c.json"), ("archive_missing", "raw-trips/2024/x.parquet")}


def archive_changed(lake: Lake) -> Found:
    replace(lake, "archive/2026/week10/d.json", b'{"id": "other"}\n')
    replace(lake, "quarantine/events/files/2026/week01/broken.json", b'{"id": "mended"}\n')
    return {("archive_changed", f"raw/2026/{name}.json") for name in ("week10/d", "week01/broken")}


def archive_stray(lake: Lake) -> Found:
    lake.store.put("archive/notes.txt", b"someone's")
    lake.store.put("quarantine/events/files/notes.txt", b"someone's")
    return {("archive_stray", "archive/notes.txt"), ("archive_stray", "quarantine/events/files/notes.txt")}


def output_missing(lake: Lake) -> Found:
    path = output(lake, 2)
    lake.store.delete([path])
    return {("output_missing", path)}


def output_changed(lake: Lake) -> Found:
    """Another size, and the same size with bytes that are no Parquet."""
    longer, broken = output(lake, 3), output(lake, 4)
    replace(lake, longer, lake.store.get(longer) + b"more")
    replace(lake, broken, b"x" * len(lake.store.get(broken)))
    return {("output_changed", longer), ("output_changed", broken)}


def output_rows(lake: Lake) -> Found:
    return {("output_rows", rewrite(lake, 5, lambda table: table.slice(1)))}


def committed_rows(lake: Lake) -> Found:
    """The ledger's own number is another, so it contradicts itself too."""
    path = output(lake, 6)
    sql(lake, "UPDATE lake.outputs SET rows = rows + 1 WHERE path = %s", path)
    return {("output_rows", path), ("rows_differ", "2026-week06.0001")}


def broken_rows(lake: Lake) -> Found:
    """The footer can be read, and the rows cannot."""
    path = output(lake, 11)
    data = lake.store.get(path)
    replace(lake, path, data[:4] + b"x" * (len(data) // 3) + data[4 + len(data) // 3 :])
    return {("output_changed", path)}


def file_rows(lake: Lake) -> Found:
    """A row of one file is lost and one of another doubled: as many as there were."""

    def shift(table: pa.Table) -> pa.Table:
        rows = sorted(table.to_pylist(), key=lambda row: str(row["_source_file"]))
        return pa.Table.from_pylist([*rows[1:], rows[-1]], table.schema)

    rewrite(lake, 7, shift)
    return {("file_rows", f"raw/2026/week07/{name}.json") for name in "ab"}


def records_missing(lake: Lake) -> Found:
    lake.store.delete(["quarantine/events/records/2026-week08.0001-a1.ndjson"])
    return {("records_missing", "quarantine/events/records/2026-week08.0001-a1.ndjson")}


def records_changed(lake: Lake) -> Found:
    key = "quarantine/events/records/2026-week09.0001-a1.ndjson"
    replace(lake, key, lake.store.get(key) * 2)
    return {("records_changed", key)}


def records_left(lake: Lake) -> Found:
    lake.store.put(f"quarantine/events/records/{WEEK1}-a0.ndjson", b"{}\n")
    return {("records_left", f"quarantine/events/records/{WEEK1}-a0.ndjson")}


def records_stray(lake: Lake) -> Found:
    lake.store.put("quarantine/events/records/notes.txt", b"someone's")
    return {("records_stray", "quarantine/events/records/notes.txt")}


def output_left(lake: Lake) -> Found:
    """One that was published, and one that was only meant to be."""
    for name in ("there", "not-there"):
        sql(
            lake,
            "INSERT INTO lake.outputs (dataset, path, manifest_id, attempt, rows, bytes)"
            " VALUES ('events', %s, %s, 1, 1, 1)",
            f"curated/{name}.parquet",
            WEEK1,
        )
    lake.store.put("curated/there.parquet", b"x")
    return {("output_left", "curated/there.parquet"), ("output_left", "curated/not-there.parquet")}


def output_stray(lake: Lake) -> Found:
    lake.store.put("curated/someone/else.parquet", b"someone's")
    return {("output_stray", "curated/someone/else.parquet")}


def output_unreleased(lake: Lake) -> Found:
    lake.store.put("_staging/trips/2025.0001/1/data/2025/x.json", lake.store.get("trips/2025/x.json"))
    lake.store.delete(["trips/2025/x.json"])
    sql(
        lake,
        "UPDATE lake.outputs SET staged_path = %s WHERE path = 'trips/2025/x.json'",
        "_staging/trips/2025.0001/1/data/2025/x.json",
    )
    return {("output_unreleased", "trips/2025/x.json")}


def json_lines(lake: Lake) -> Found:
    """As many bytes, and a line more."""
    replace(lake, "trips/2026/x.json", lake.store.get("trips/2026/x.json").replace(b",", b"\n", 1))
    return {("output_rows", "trips/2026/x.json")}


def staging_left(lake: Lake) -> Found:
    lake.store.put(f"_staging/events/{WEEK1}/1/data/x.parquet", b"x")
    lake.store.put(f"_staging/events/{WEEK1}/1/results.json", b"{}")
    return {("staging_left", f"_staging/events/{WEEK1}/1")}


def staging_stray(lake: Lake) -> Found:
    lake.store.put("_staging/events/nobody.0001/1/x", b"x")
    lake.store.put("_staging/events/notes.txt", b"x")
    return {("staging_stray", "_staging/events/nobody.0001/1"), ("staging_stray", "_staging/events/notes.txt")}


def lease_expired(lake: Lake) -> Found:
    manifest = lake.ledger.claim_manifest("events", "2026/week20", 10, 10**9)
    assert manifest is not None
    lake.ledger.begin_attempt("events", manifest.manifest_id, "elsewhere/1/1.00", timedelta(seconds=-1))
    return {("lease_expired", manifest.manifest_id)}


def catalogue_stale(lake: Lake) -> Found:
    sql(lake, "UPDATE lake.manifests SET changes = changes + 1 WHERE manifest_id = %s", WEEK1)
    return {("catalogue_stale", "events")}


def stranded_file(lake: Lake) -> Found:
    sql(
        lake,
        "INSERT INTO lake.live_files"
        " (dataset, s3_key, etag, size, last_modified, landing_group, status, manifest_id)"
        " SELECT dataset, 'raw/2026/week10/stranded.json', %s, %s, now(), landing_group, 'FAILED', manifest_id"
        " FROM lake.manifests WHERE manifest_id = %s",
        (found := lake.store.put("raw/2026/week10/stranded.json", b"{}\n")).etag,
        found.size,
        WEEK10,
    )
    return {("stranded_file", "raw/2026/week10/stranded.json")}


DAMAGES: dict[str, Callable[[Lake], Found]] = {
    damage.__name__: damage
    for damage in (
        *(unregistered, changed, landed_once_more, missing, not_archived, archive_unrecorded, archive_missing),
        *(archive_changed, archive_stray, output_missing, output_changed, output_rows, committed_rows, broken_rows),
        *(file_rows, records_missing, records_changed, records_left, records_stray, output_left, output_stray),
        *(output_unreleased, json_lines, staging_left, staging_stray, lease_expired, catalogue_stale, stranded_file),
    )
}
