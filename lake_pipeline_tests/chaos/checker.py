"""What is left, compared with what landed. Nothing of the package is used: files, JSON, Parquet and SQL as they are."""

from __future__ import annotations

import io
import json
from collections import Counter, defaultdict
from typing import Any

import psycopg
import pyarrow.parquet as pq
from psycopg.rows import dict_row

from lake_pipeline_tests.chaos.journal import Journal, Landing, digest
from lake_pipeline_tests.chaos.objects import Objects

Row = tuple[Any, ...]
ByKey = dict[tuple[str, str], list[dict[str, Any]]]
_SHOWN = 10
_KEPT = ("archive/", "archive-copies/", "quarantine/")


def check(journal: Journal, objects: Objects, database_url: str) -> list[str]:
    """Every difference between the journal and the lake, in words; none where nothing was lost and nothing doubled."""
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        files = connection.execute("SELECT * FROM lake.file_processing_status ORDER BY dataset, s3_key, id").fetchall()
        manifests = connection.execute("SELECT * FROM lake.manifests ORDER BY dataset, manifest_id").fetchall()
        outputs = connection.execute("SELECT * FROM lake.outputs ORDER BY dataset, path").fetchall()
    by_key: ByKey = defaultdict(list)
    for file in files:
        by_key[file["dataset"], file["s3_key"]].append(file)
    return [
        *_rows(journal, objects, outputs, by_key),
        *_files(journal, objects, by_key),
        *_manifests(manifests),
        *_outputs(objects, outputs),
        *_store(objects),
    ]


def _rows(
    journal: Journal,
    objects: Objects,
    outputs: list[dict[str, Any]],
    by_key: ByKey,
) -> list[str]:
    found: Counter[Row] = Counter()
    where: dict[Row, list[str]] = defaultdict(list)
    sources = {output["path"]: output["file_id"] for output in outputs}
    key_of = {file["id"]: file["s3_key"] for known in by_key.values() for file in known}
    for path in objects.keys("curated/"):
        for row in _parquet_rows(path, objects.read(path)):
            found[row] += 1
            where[row].append(path)
    for path in objects.keys("curated-copies/"):
        for record in map(json.loads, objects.read(path).splitlines()):
            row = ("copies", key_of.get(sources.get(path), "?"), *_values(record))
            found[row] += 1
            where[row].append(path)
    expected = _expected(journal, found, by_key)
    problems = []
    for title, rows in (("LOST", expected - found), ("DOUBLED OR STALE", found - expected)):
        keys = Counter(row[:2] for row in rows.elements())
        problems += [
            f"{title}: {count} rows of {dataset} {key}\n"
            f"  landed: {[_shown(landing) for landing in journal.versions.get((dataset, key), [])]}\n"
            + "".join(f"  ledger: {_ledger(file)}\n" for file in by_key.get((dataset, key), []))
            + f"  rows: {[(row[2], where[row]) for row in rows if row[:2] == (dataset, key)]}"
            for (dataset, key), count in keys.most_common(_SHOWN)
        ]
        if keys:
            problems.append(f"{title}: {rows.total()} rows of {len(keys)} keys in all; {expected.total()} are expected")
    return problems


def _expected(journal: Journal, found: Counter[Row], by_key: ByKey) -> Counter[Row]:
    """The rows of each key's last version; where that cannot be read, those of the one before it that was converted."""
    found_of: dict[tuple[str, str], Counter[Row]] = defaultdict(Counter)
    for row, count in found.items():
        found_of[row[:2]][row] = count
    expected: Counter[Row] = Counter()
    for (dataset, key), versions in journal.versions.items():
        candidates = [Counter((dataset, key, *_values(record)) for record in landed.records) for landed in versions]
        if versions[-1].bad and any(row["status"] == "SUCCEEDED" for row in by_key.get((dataset, key), [])):
            stay = [rows for rows in candidates if rows]
            expected += found_of[dataset, key] if found_of[dataset, key] in stay else stay[-1]
        else:
            expected += candidates[-1]
    return expected


def _values(record: dict[str, Any]) -> Row:
    return (record["id"], str(record["DATE"]), record["MODE"], record["n"], record["text"])


def _parquet_rows(path: str, data: bytes) -> list[Row]:
    parts = dict(part.split("=") for part in path.split("/") if "=" in part)
    date = f"{int(parts['year']):04d}-{int(parts['month']):02d}-{int(parts['day']):02d}"
    rows = pq.ParquetFile(io.BytesIO(data)).read(["id", "n", "text", "_source_file"]).to_pylist()
    return [("events", row["_source_file"], row["id"], date, parts["mode"], row["n"], row["text"]) for row in rows]


def _files(journal: Journal, objects: Objects, by_key: ByKey) -> list[str]:
    """The last version under each key is done, older ones are superseded, and the raw bytes are where they belong."""
    problems = [
        f"UNKNOWN: the ledger has {key}, which nobody landed" for key in by_key.keys() - journal.versions.keys()
    ]
    kept = {key: digest(objects.read(key)) for prefix in _KEPT for key in objects.keys(prefix)}
    for (dataset, key), versions in journal.versions.items():
        last, rows = versions[-1], by_key.get((dataset, key), [])
        told = f"  landed: {[_shown(landing) for landing in versions]}\n" + "".join(
            f"  ledger: {_ledger(row)}\n" for row in rows
        )
        current = [row for row in rows if row["status"] != "SUPERSEDED"]
        # The rows of a version before one that cannot be read stay, and so does its state.
        wanted = [["QUARANTINED"], ["SUCCEEDED", "QUARANTINED"]] if last.bad else [["SUCCEEDED"]]
        if [row["status"] for row in current] not in wanted:
            problems.append(f"UNACCOUNTED: {dataset} {key} is to be {wanted[0][0]}\n{told}")
            continue
        if kept.get(current[-1]["archived_key"] or "") != last.digest:
            problems.append(f"RAW BYTES: the last version of {dataset} {key} is not where it was archived\n{told}")
        digests = {landing.digest for landing in versions}
        problems += [
            f"RAW BYTES: {row['archived_key']} is no version of {dataset} {key}\n{told}"
            for row in rows
            if row["archived_key"] is not None and kept.get(row["archived_key"]) not in digests
        ]
    return problems


def _manifests(manifests: list[dict[str, Any]]) -> list[str]:
    return [
        f"MANIFEST: {row['dataset']} {row['manifest_id']} is {row['state']}, attempt {row['attempt']} of"
        f" {row['worker']}, lease {row['lease_expires_at']}: {row['error_message']}"
        for row in manifests
        if row["state"] != "COMMITTED" or row["lease_expires_at"] is not None
    ]


def _outputs(objects: Objects, outputs: list[dict[str, Any]]) -> list[str]:
    stored = {key for prefix in ("curated/", "curated-copies/") for key in objects.keys(prefix)}
    listed = {output["path"] for output in outputs if output["committed"] and output["staged_path"] is None}
    return [
        *(f"OUTPUT: {path} is in the store, and no commit lists it" for path in sorted(stored - listed)),
        *(f"OUTPUT: {path} is committed, and not in the store" for path in sorted(listed - stored)),
        *(f"OUTPUT: {row['path']} is left over" for row in outputs if row["path"] not in listed),
    ]


def _store(objects: Objects) -> list[str]:
    return [f"LEFT OVER: {key}" for prefix in ("raw/", "raw-copies/", "_staging/") for key in objects.keys(prefix)]


def _shown(landing: Landing) -> str:
    return f"v{landing.version} {landing.kind}: {len(landing.records)} records, {landing.size} bytes"


def _ledger(file: dict[str, Any]) -> str:
    names = ("id", "etag", "size", "status", "manifest_id", "retry_count", "rows_written", "archived_key")
    shown = ", ".join(f"{name}={file[name]}" for name in names)
    return f"{shown}, {file['error_class']}: {(file['error_message'] or '')[:200]}"
